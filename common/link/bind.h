// bind - binds a ZeroMQ socket to an endpoint that nobody else serves. For hub.c.
#ifndef LINK_BIND_H
#define LINK_BIND_H

// Two processes can bind one ipc path and ZeroMQ tells neither, so the path is tried first: if
// somebody answers it is ERR_BUSY, else the dead socket file is replaced. The file gets mode 0600.
// ERR_LIMIT for a path of more than 107 bytes, ERR_IO.
int link_bind(void *server, const char *endpoint);

#endif
