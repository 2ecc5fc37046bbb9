"""`python -m services.notifier`"""

from shared.runtime import logs

logs.configure("notifier")  # first: what can't be imported is said in our lines too

from services.notifier.app import app
from services.notifier.settings import NotifierSettings
from shared.runtime.serve import main

if __name__ == "__main__":
    main("notifier", NotifierSettings, app)
