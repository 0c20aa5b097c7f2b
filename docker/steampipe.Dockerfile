# Steampipe with the plugins of the providers that Cloudsweep takes inventory of.

FROM debian:bookworm-slim AS download
ARG TARGETARCH=amd64
ARG STEAMPIPE_VERSION=v2.5.0
ARG STEAMPIPE_RELEASES=https://github.com/turbot/steampipe/releases/download
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && curl --fail --silent --show-error --location \
        "$STEAMPIPE_RELEASES/$STEAMPIPE_VERSION/steampipe_linux_$TARGETARCH.tar.gz" \
        | tar --extract --gzip --directory /usr/local/bin steampipe

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 9193 --gid 0 --create-home --shell /bin/bash steampipe
COPY --from=download /usr/local/bin/steampipe /usr/local/bin/steampipe
ENV STEAMPIPE_TELEMETRY=none \
    STEAMPIPE_UPDATE_CHECK=false
# It refuses to run as root. The first start unpacks its own PostgreSQL, so that no container does;
# the password made by it must not stay in the image.
USER 9193
WORKDIR /home/steampipe
RUN steampipe plugin install steampipe aws azure gcp kubernetes \
    && steampipe service start \
    && steampipe service stop \
    && rm -f .steampipe/internal/.passwd .steampipe/config/*.spc
EXPOSE 9193
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9193"]
CMD ["steampipe", "service", "start", "--foreground", "--database-listen", "network"]
