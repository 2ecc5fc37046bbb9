"""`python -m services.router`"""

from shared.runtime import logs

logs.configure("router")  # first: what can't be imported is said in our lines too

from services.router.app import app
from services.router.settings import RouterSettings
from shared.runtime.serve import main

if __name__ == "__main__":
    main("router", RouterSettings, app)
