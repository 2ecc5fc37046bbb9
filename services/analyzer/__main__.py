"""`python -m services.analyzer`"""

from services.analyzer.app import app
from services.analyzer.settings import AnalyzerSettings
from shared.runtime.serve import main

if __name__ == "__main__":
    main("analyzer", AnalyzerSettings, app)
