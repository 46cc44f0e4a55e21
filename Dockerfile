# The gateway in one static file: docker build -t sluice .   (for another machine: --platform linux/arm64)
# tests/deploy follows these steps without Docker; docs/deploy-container.md tells how to run the image.
ARG GO_VERSION=1.26

# The build runs on the builder's own machine and compiles for the target: no emulation.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY changelog.go CHANGELOG.md ./
COPY shared ./shared
COPY local ./local
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG REVISION=""
ARG CREATED=""
# runAs is the user that the program becomes when it is started as root, see local/privileges.go
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath \
    -ldflags "-s -w -X main.version=$VERSION -X sluice/shared/release.commit=$REVISION -X sluice/shared/release.date=$CREATED -X main.runAs=65532:65532" -o /out/usr/local/bin/sluice ./local
RUN install -d -m 0755 -o 65532 -g 65532 /out/app /out/app/data \
    && install -d -m 1777 /out/tmp \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ca-certificates.crt \
    && printf 'root:x:0:0:root:/:/none\nsluice:x:65532:65532:sluice:/app:/none\n' >/out/etc/passwd \
    && printf 'root:x:0:\nsluice:x:65532:\n' >/out/etc/group

# No shell, no package manager, nothing but the program (which has the time zones in it) and the certificates.
FROM scratch
ARG VERSION=dev
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="sluice" \
      org.opencontainers.image.description="Gateway for large language models with tenants" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build /out/ /
ENV PATH=/usr/local/bin
WORKDIR /app
# It starts as root only to take over a bind-mounted /app/data and becomes 65532 before anything else happens. With
# --user, or runAsUser in Kubernetes, it never is root. LISTEN_ADDR is not set here, so that PORT counts.
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s --retries=3 CMD ["/usr/local/bin/sluice", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/sluice"]
