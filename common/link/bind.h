// bind - binds a ZeroMQ socket to an endpoint that no other process serves. For hub.c.
#ifndef LINK_BIND_H
#define LINK_BIND_H

// ZeroMQ lets two processes bind one ipc path and reports it to neither. So this connects to the
// path first: ERR_BUSY if a process answers, else the dead socket file is replaced. The new file
// has mode 0600. ERR_LIMIT for a path of more than 107 bytes, ERR_IO.
int link_bind(void *server, const char *endpoint);

#endif
