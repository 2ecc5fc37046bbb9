"""`python -m services.router`"""

from services.router.app import app
from services.router.settings import RouterSettings
from shared.runtime.serve import main

if __name__ == "__main__":
    main("router", RouterSettings, app)
