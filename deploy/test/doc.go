// Package deploytest checks what is deployed: Kubernetes manifests, as kubectl
// renders them, the Dockerfile and the compose file. It is a module of its own,
// so that nothing else depends on Kubernetes' types.
package deploytest
