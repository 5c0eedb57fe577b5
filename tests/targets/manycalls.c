// Calls of many kinds with arguments in memory, between two marks, for comparing what tracers show of them.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void sockets(void) {
	int pair[2], one = 1, got;
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
	struct iovec parts[] = {{"hello", 5}, {" world\a\n", 8}};
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.header), &one, sizeof one);
	sendmsg(pair[0], &message, MSG_NOSIGNAL);
	char text[64], rest[64];
	struct sockaddr_un from;
	struct iovec room[] = {{text, 8}, {rest, 50}};
	struct msghdr comes = {&from, sizeof from, room, 2, &control, sizeof control, 0};
	recvmsg(pair[1], &comes, MSG_CMSG_CLOEXEC);
	sendmsg(pair[0], NULL, 0);
	int listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	struct linger linger = {1, 2};
	setsockopt(listener, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	socklen_t length = sizeof got;
	getsockopt(listener, SOL_SOCKET, SO_TYPE, &got, &length);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	bind(listener, (struct sockaddr *)&address, sizeof address);
	listen(listener, 1);
	struct sockaddr_storage name;
	length = sizeof name;
	getsockname(listener, (struct sockaddr *)&name, &length);
	getpeername(listener, (struct sockaddr *)&name, &length);
	length = sizeof name;
	getsockname(pair[0], (struct sockaddr *)&name, &length);
	sendto(pair[0], "abc", 3, 0, NULL, 0);
	recvfrom(pair[1], text, 10, 0, NULL, NULL);
	struct pollfd polled[] = {{pair[0], POLLOUT, 0}, {pair[1], POLLIN, 0}};
	poll(polled, 2, 10);
	poll(polled + 1, 1, 1);
	poll(NULL, 0, 0);
	struct timespec soon = {0, 1000000};
	ppoll(polled, 1, &soon, NULL);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {EPOLLOUT | EPOLLET, {.u64 = 0x100000007}};
	epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &event);
	epoll_wait(epoll, &event, 1, 5);
	epoll_wait(epoll, &event, 1, 0);
	fd_set reads, writes;
	FD_ZERO(&reads);
	FD_SET(pair[1], &reads);
	writes = reads;
	struct timeval none = {0, 0};
	select(pair[1] + 1, &reads, &writes, NULL, &none);
	FD_ZERO(&writes);
	select(pair[1] + 1, &writes, NULL, NULL, &none);
}

static void files(const char *path) {
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct iovec parts[] = {{"abc", 3}, {"def\n\1", 5}};
	writev(fd, parts, 2);
	char one[3], two[16];
	struct iovec room[] = {{one, 3}, {two, 16}};
	preadv(fd, room, 2, 0);
	struct iovec wrong[] = {{(void *)8, 3}};
	writev(fd, wrong, 1);
	struct flock lock = {F_WRLCK, SEEK_SET, 0, 10, 0};
	fcntl(fd, F_SETLK, &lock);
	fcntl(fd, F_GETFL);
	fcntl(fd, F_DUPFD_CLOEXEC, 100);
	struct timespec times[] = {{1, 0}, {0, UTIME_NOW}};
	utimensat(AT_FDCWD, path, times, 0);
	struct open_how how = {.flags = O_RDONLY | O_NOFOLLOW, .resolve = RESOLVE_BENEATH};
	syscall(SYS_openat2, AT_FDCWD, "/dev/null", &how, sizeof how);
	struct statx known;
	statx(AT_FDCWD, "/dev/null", AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &known);
	struct stat kind;
	stat("/tmp", &kind);
	struct statfs system;
	statfs("/proc", &system);
	off_t at = 2;
	int pipes[2];
	pipe2(pipes, O_NONBLOCK | O_CLOEXEC);
	sendfile(pipes[1], fd, &at, 3);
	loff_t from = 1;
	splice(fd, &from, pipes[1], NULL, 2, SPLICE_F_MOVE);
	dup3(pipes[0], 200, O_CLOEXEC);
	int many;
	ioctl(pipes[0], FIONREAD, &many);
	struct winsize window;
	ioctl(fd, TIOCGWINSZ, &window);
	mknod("/proc/nosuch", S_IFIFO | 0600, 0);
	umask(umask(022));
	openat(AT_FDCWD, "/tmp", O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_DIRECTORY);
	unlink(path);
}

static void processes(void) {
	struct rlimit limit;
	getrlimit(RLIMIT_CORE, &limit);
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	struct tms ticks;
	times(&ticks);
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, 8, &cpus);
	uid_t real, effective, saved;
	getresuid(&real, &effective, &saved);
	prctl(PR_SET_NAME, "name");
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	struct itimerval each = {{0, 0}, {100, 5}}, old;
	setitimer(ITIMER_VIRTUAL, &each, &old);
	getitimer(ITIMER_VIRTUAL, NULL);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct itimerspec spec = {{1, 2}, {3, 4}};
	timerfd_settime(timer, 0, &spec, NULL);
	stack_t stack = {NULL, SS_DISABLE, 0};
	sigaltstack(&stack, NULL);
	sigset_t real_time;
	sigemptyset(&real_time);
	sigaddset(&real_time, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &real_time, NULL);
	struct timespec now = {0, 1000};
	nanosleep(&now, NULL);
	sigtimedwait(&real_time, NULL, &now);
	pid_t child = fork();
	if (!child)
		_exit(3);
	siginfo_t info;
	waitid(P_PID, child, &info, WEXITED | WNOWAIT);
	int status;
	wait4(child, &status, 0, &usage);
}

int main(int argc, char **argv) {
	(void)argc;
	getpgrp();
	sockets();
	files(argv[1]);
	processes();
	getpgrp();
	return 0;
}
