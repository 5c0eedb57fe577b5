// The wire to the server: one unix socket, one question at a time. Layout: struct ask, name, data; then s32 status, u32 bytes, bytes.
#include "stub.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int wire = -2;

static int open_wire(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	const char *path = getenv("BPFTIME_STUB_SOCKET");
	int fd;

	if (!path)
		return -1;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (void *)&at, sizeof(at))) {
		fprintf(stderr, "stub driver: no server at %s\n", path);
		exit(99);
	}
	return fd;
}

static void put(const void *data, u64 bytes)
{
	for (u64 done = 0; done < bytes;) {
		ssize_t n = write(wire, (const u8 *)data + done, bytes - done);

		if (n <= 0)
			exit(98);
		done += (u64)n;
	}
}

static void get(void *data, u64 bytes)
{
	for (u64 done = 0; done < bytes;) {
		ssize_t n = read(wire, (u8 *)data + done, bytes - done);

		if (n <= 0)
			exit(97);
		done += (u64)n;
	}
}

int server_ask(const struct ask *ask, const char *name, const void *data, void *reply, u32 room)
{
	int status = -1;
	u32 bytes;

	pthread_mutex_lock(&lock);
	if (wire == -2)
		wire = open_wire();
	if (wire >= 0) {
		put(ask, sizeof(*ask));
		put(name, ask->name_bytes);
		put(data, ask->bytes);
		get(&status, 4);
		get(&bytes, 4);
		if (bytes > room)
			exit(96);
		get(reply, bytes);
	}
	pthread_mutex_unlock(&lock);
	return status;
}
