"""`python -m services.notifier`"""

from services.notifier.app import app
from services.notifier.settings import NotifierSettings
from shared.runtime.serve import main

if __name__ == "__main__":
    main("notifier", NotifierSettings, app)
