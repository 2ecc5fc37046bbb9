"""`python -m services.watcher`"""

from services.watcher.app import app
from services.watcher.settings import Settings
from shared.runtime import serve

if __name__ == "__main__":
    serve.main("watcher", Settings, app)
