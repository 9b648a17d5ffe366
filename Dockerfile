# dns-manager as an image. docs/operating.md says how it is run; packaging/compose.yaml runs it with etcd and CoreDNS.
#
#   docker build --tag dns-manager .

FROM rust:1.95-bookworm AS builder
WORKDIR /src
# Backtraces keep the names of functions and go without lines, which keeps the program small.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
# Rust's WebAssembly target, which the component is built for: a layer of its own, kept while only sources change.
COPY rust-toolchain.toml Makefile ./
COPY tests/tools/install tests/tools/install
RUN make target
COPY . .
RUN cargo build --locked --release --package dns-manager-orchestrator

# Slim and not scratch: the program is linked to glibc, host names are looked up as on any other machine (nsswitch), https
# URLs are checked against the system's authorities, and a provider of yours is a program that may want a shell.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/dns-manager --shell /usr/sbin/nologin dns-manager \
    && install -d -o dns-manager -g dns-manager -m 700 /var/lib/dns-manager
COPY --from=builder /src/target/release/dns-manager /usr/bin/dns-manager
# Serves its own loopback alone: mount a configuration over it. `serve` needs access control for any other address.
COPY config.example.toml /etc/dns-manager/config.toml
ENV DNS_MANAGER_CONFIG=/etc/dns-manager/config.toml \
    DNS_MANAGER__ORCHESTRATOR__DATA_DIR=/var/lib/dns-manager
# By number: Kubernetes' runAsNonRoot knows no names.
USER 10001
VOLUME /var/lib/dns-manager
EXPOSE 8080
# The process works; whether it can do its job is /readyz, which restarting does not mend. Plain HTTP at port 8080: with TLS
# or another port, give another check.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /healthz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["dns-manager"]
CMD ["serve"]
