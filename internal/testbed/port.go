package testbed

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// port is a loopback port kept for one server through all its restarts.
//
// The reservation is a socket that is bound but does not listen: the kernel
// gives the port to nobody else, and the server may still bind it because both
// sides say SO_REUSEPORT (kube-apiserver --permit-port-sharing, etcd
// --socket-reuse-port) and belong to the same user. A port that was merely found
// free could be taken before the server starts, or while it is down.
type port struct {
	number int
	socket int
}

func reservePort() (*port, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	unix.CloseOnExec(fd)
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	return &port{number: name.(*unix.SockaddrInet4).Port, socket: fd}, nil
}

func (p *port) release() { unix.Close(p.socket) }
