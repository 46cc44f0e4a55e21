// Package deploy holds the tests of what the gateway is deployed with: template.yaml, Dockerfile, docker-compose.yml, the
// Kubernetes manifest and the two documents about them. They need neither AWS nor Docker: the Dockerfile's steps are followed
// in a scratch folder, the image is a folder that processes are started in with chroot, compose files are read by the
// library that docker compose reads them with, the Dockerfile by BuildKit's parser and linter.
//
// It is a module of its own, so that none of those libraries becomes a dependency of the gateway.
package deploy
