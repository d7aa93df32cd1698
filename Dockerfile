# The gateway: `meter` on a plain Python, as a user without rights, nothing in it that is not locked by hash.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/meter
# The locked requirements come first: as long as they stay, a change of the code does not install them again.
COPY requirements/run.txt requirements/run.txt
RUN /opt/meter/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-input \
    --require-hashes --only-binary=:all: --requirement requirements/run.txt
COPY LICENSE README.md pyproject.toml ./
COPY meter meter
COPY edge edge
# hatchling is among the locked requirements, so the build needs no network and no isolation.
RUN /opt/meter/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-input \
    --no-index --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
# A fixed number, so that whoever backs up or moves the volume knows its owner. The directory exists before the volume
# is mounted, because a fresh volume takes over the owner of what it covers.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/meter --shell /usr/sbin/nologin meter \
    && install --directory --owner=meter --group=meter --mode=0750 /var/lib/meter
COPY --from=build /opt/meter /opt/meter
ENV PATH=/opt/meter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    METER_DATA_DIR=/var/lib/meter
USER 10001:10001
WORKDIR /var/lib/meter
VOLUME /var/lib/meter
EXPOSE 8080
ENTRYPOINT ["meter"]
CMD ["serve"]
