# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# Queries are checked against .sqlx: no database at build time.
ENV SQLX_OFFLINE=true

# The dependencies alone: this layer is built again only when Cargo.lock changes.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir -p src tests/it \
    && echo 'fn main() {}' | tee src/main.rs > tests/it/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin recado \
    && rm -r src tests

COPY .sqlx .sqlx
COPY migrations migrations
COPY config config
COPY templates templates
COPY src src
# What stands in for the sources above is newer than the sources: their times must not decide.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin recado


FROM debian:bookworm-slim
# Certificates to speak to the provider, time zones for quiet hours and dates.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /etc/recado --shell /usr/sbin/nologin recado

COPY --from=build /src/target/release/recado /usr/local/bin/recado
COPY templates /usr/share/recado/templates
COPY config/sources /usr/share/recado/sources
COPY config/forms /usr/share/recado/forms
COPY config/rates /usr/share/recado/rates

# A recado.toml that is mounted here is found by itself.
WORKDIR /etc/recado
ENV RECADO_HTTP__LISTEN=0.0.0.0:8080 \
    RECADO_HTTP__METRICS_LISTEN=0.0.0.0:9464 \
    RECADO_LOG__FORMAT=json
EXPOSE 8080 9464
USER 10001:10001

# Stop claiming, finish what is in flight (shutdown.grace, 20 s), end. Give it longer than that: docker stop --time 30.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["recado", "healthcheck"]
ENTRYPOINT ["recado"]
CMD ["run"]
