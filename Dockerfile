# One image for every role: `docker compose` gives each container its verb (server, scheduler, processor, …).
FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/tocsin
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY events events
COPY store store
COPY triggers triggers
COPY notifiers notifiers
COPY flows flows
COPY automations automations
COPY server server
COPY examples examples
RUN /opt/tocsin/bin/pip install --constraint constraints.txt .

FROM python:3.13-slim-bookworm
LABEL org.opencontainers.image.title="tocsin" org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 tocsin \
    && useradd --uid 10001 --gid tocsin --home-dir /var/lib/tocsin --shell /usr/sbin/nologin tocsin \
    && install --directory --owner=tocsin --group=tocsin --mode=0700 /var/lib/tocsin
COPY --from=build /opt/tocsin /opt/tocsin
ENV PATH=/opt/tocsin/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TOCSIN_HOME=/var/lib/tocsin
USER 10001:10001
WORKDIR /var/lib/tocsin
ENTRYPOINT ["tocsin"]
CMD ["--help"]
