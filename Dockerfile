# The static binary, certificates and nothing else. Not root, and made for a read-only root file system:
#
#   docker build -t reconciled .
#   docker run --rm --read-only --tmpfs /tmp -v /srv/reconciled:/data reconciled run
#
# /data holds reconciled.toml, jobs/ and the database (`reconciled init /srv/reconciled`), owned by user 10001, on a local volume: SQLite's
# write-ahead log is not made for network file systems. Secrets: mount a folder and set CREDENTIALS_DIRECTORY.
FROM docker.io/library/rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends musl-tools ca-certificates binutils \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add x86_64-unknown-linux-musl
WORKDIR /src
COPY . .
RUN packaging/static.sh
# An empty folder to become /data and /tmp, with the owner that a folder of the image needs.
RUN mkdir -p /image/data /image/tmp \
 && chmod 1777 /image/tmp \
 && chown 10001:10001 /image/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/ /
COPY --from=build /src/target/x86_64-unknown-linux-musl/release/reconciled /usr/bin/reconciled
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
WORKDIR /data
VOLUME /data
HEALTHCHECK --interval=5m --timeout=30s --start-period=1m CMD ["/usr/bin/reconciled", "--config", "/data/reconciled.toml", "status", "--json"]
ENTRYPOINT ["/usr/bin/reconciled", "--config", "/data/reconciled.toml"]
CMD ["serve"]
