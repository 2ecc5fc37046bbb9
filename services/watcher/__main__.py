"""`python -m services.watcher`"""

from shared.runtime import logs

logs.configure("watcher")  # first: what can't be imported is said in our lines too

from services.watcher.app import app
from services.watcher.settings import Settings
from shared.runtime.serve import main

if __name__ == "__main__":
    main("watcher", Settings, app)
