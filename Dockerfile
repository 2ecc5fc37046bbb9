# One image for all five processes; its arguments say which one: `python -m services.router`.
FROM python:3.11-slim-bookworm AS runtime
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
COPY requirements/runtime.txt requirements/
RUN python -m venv /venv && pip install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY shared shared
COPY services services
# Compiled now: containers run with a read-only root file system.
RUN python -m compileall -q shared services
ENV PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8080

# The sandbox's cluster, gateway and application, for compose.yaml only.
FROM runtime AS sandbox
USER root
COPY requirements/dev.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/dev.txt
COPY k8s k8s
COPY tests/guide tests/guide
COPY sandbox sandbox
USER 10001:10001

# Last, so that a build without --target makes what clusters run.
FROM runtime AS serinus
