# kobe in a container; ops/docker/README.md says how to build and run it.
# BASE may be pinned further: --build-arg BASE=python:3.11-slim-bookworm@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
# Optional parts (pyproject.toml) that go in: the service, pictures in messages, traces.
ARG EXTRAS="service charts otel"
COPY pyproject.toml README.md ./
COPY requirements/ requirements/
COPY scripts/locked_extras.py scripts/
RUN python -m venv /opt/kobe \
    && python scripts/locked_extras.py ${EXTRAS} > locked.txt \
    && /opt/kobe/bin/pip install --require-hashes --only-binary=:all: -r locked.txt
COPY kobe/ kobe/
# The kernels are compiled here, so that the first order does not wait for a compiler; -P: those of the installation,
# not of this folder, because the compiler keeps them by the place of their source.
RUN /opt/kobe/bin/pip install --no-deps --no-build-isolation . \
    && /opt/kobe/bin/python -m compileall -q /opt/kobe/lib \
    && NUMBA_CACHE_DIR=/opt/kobe/numba /opt/kobe/bin/python -P -m kobe.app.warm

FROM ${BASE}
# A fixed number, so that the owner of a volume is known outside of the image too.
RUN groupadd --gid 10001 kobe \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/kobe --no-create-home --shell /usr/sbin/nologin kobe \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/kobe
COPY --from=build /opt/kobe /opt/kobe
COPY ops/docker/entrypoint.sh /opt/kobe/entrypoint.sh
# Only /var/lib/kobe (the home) and /tmp (what may be lost) are written: the root may be read-only.
ENV PATH=/opt/kobe/bin:$PATH \
    KOBE_HOME=/var/lib/kobe \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TZ=UTC
VOLUME /var/lib/kobe
WORKDIR /var/lib/kobe
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=90s --retries=3 CMD ["kobe", "health"]
ENTRYPOINT ["sh", "/opt/kobe/entrypoint.sh"]
CMD ["run"]
