# The page of SAFE as an online service (docs/service.md): docker build -t safe . && see there how to run it.
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
WORKDIR /safe
COPY requirements.txt ./
COPY requirements/lock.txt requirements/
RUN pip install --require-hashes -r requirements/lock.txt
COPY pyproject.toml README.md SAFE_Tool.py FE.py clustering.py selection.py retrain.py ./
COPY safe_dnn safe_dnn
# VGG16's weights (553 MB), once, so that no visitor waits for them and the service needs no way out
ENV KERAS_HOME=/safe/keras
RUN python -c "import keras; keras.applications.VGG16()"

# Nobody in particular, who can write to /data and /tmp alone: the rest may be mounted read-only.
RUN useradd --no-create-home --uid 1000 safe && mkdir /data && chown safe /data
USER safe
ENV HOME=/tmp SAFE_CACHE=/data/cache NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=9)"]
ENTRYPOINT ["python", "SAFE_Tool.py", "ui", "--service", "/data/service", "--host", "0.0.0.0"]
