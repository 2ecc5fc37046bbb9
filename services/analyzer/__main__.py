"""`python -m services.analyzer`"""

from shared.runtime import logs

logs.configure("analyzer")  # first: what can't be imported is said in our lines too

from services.analyzer.app import app
from services.analyzer.settings import AnalyzerSettings
from shared.runtime.serve import main

if __name__ == "__main__":
    main("analyzer", AnalyzerSettings, app)
