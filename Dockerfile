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
# The image's whole root: the program, certificates, an empty /tmp and /data with the owner that it needs.
RUN packaging/static.sh \
 && install -D -m 755 target/x86_64-unknown-linux-musl/release/reconciled /image/usr/bin/reconciled \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && install -d -m 1777 /image/tmp \
 && install -d -m 750 -o 10001 -g 10001 /image/data

FROM scratch
COPY --from=build /image/ /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
WORKDIR /data
VOLUME /data
# Whether settings and database can be read. Not `status --exit-code`: a provider that is down is told of by mail, and a restart mends
# neither it nor a late night, but would end the attempts that are under way.
HEALTHCHECK --interval=5m --timeout=30s --start-period=1m CMD ["/usr/bin/reconciled", "--config", "/data/reconciled.toml", "status", "--json"]
ENTRYPOINT ["/usr/bin/reconciled", "--config", "/data/reconciled.toml"]
CMD ["serve"]
