# syntax=docker/dockerfile:1
# The image has the binary and no shell. `.ci/dockerfile` carries out these steps without a container engine, so RUN
# uses paths inside the working directory only.

FROM rust:1.95-slim-bookworm AS chef
# jemalloc is built with make.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
RUN cargo install --locked cargo-chef@0.1.78
WORKDIR /src

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --locked --release --package aldis-server --recipe-path recipe.json
COPY . .
RUN cargo build --locked --release --package aldis-server && install -d -m 0700 out/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/aldis /usr/local/bin/aldis
COPY --from=build --chown=65532:65532 /src/out/data /data
ENV HOST=0.0.0.0 PORT=1984 ALDIS_DATA_DIR=/data
WORKDIR /data
USER 65532:65532
EXPOSE 1984
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["/usr/local/bin/aldis", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/aldis"]
CMD ["serve"]
