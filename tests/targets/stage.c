// One stage of a chain of programs: stage [HOW PROGRAM ARGUMENT...]
//
// Calls stage_step ten times, then starts PROGRAM in the way that HOW names, waits for it where it is a child,
// and ends with the sum of all statuses. Without HOW it is the last stage.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

__attribute__((noinline)) int stage_step(int a)
{
	__asm__ volatile("movl $12345, %%ecx" : "+r"(a) : : "ecx"); // five bytes: room for a jump in any build
	return a + 1;
}

static char **words;

static void *become(void *unused)
{
	(void)unused;
	execv(words[0], words);
	return 0;
}

static int collect(pid_t pid)
{
	int status = 0;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 99;
	return WEXITSTATUS(status);
}

static int by_system(void)
{
	char line[4096] = "";

	for (char **word = words; *word; word++) {
		strcat(line, *word);
		strcat(line, " ");
	}
	return WEXITSTATUS(system(line));
}

static int start(const char *how)
{
	static char *empty[] = { 0 };
	pthread_t thread;
	pid_t pid = 0;

	if (!strcmp(how, "exec"))
		return execve(words[0], words, environ);
	if (!strcmp(how, "clean"))
		return execve(words[0], words, empty);
	if (!strcmp(how, "path"))
		return execvp(words[0], words);
#ifdef __GLIBC__ // musl has no function of that name
	if (!strcmp(how, "at"))
		return execveat(AT_FDCWD, words[0], words, environ, 0);
#endif
	if (!strcmp(how, "descriptor"))
		return fexecve(open(words[0], O_RDONLY | O_CLOEXEC), words, environ);
	if (!strcmp(how, "thread")) {
		pthread_create(&thread, 0, become, 0);
		pthread_join(thread, 0);
		return 98;
	}
	if (!strcmp(how, "failing")) { // what fails leaves no trace and the right error
		char *none[] = { "/etc/passwd", 0 };

		if (execv("/nonexistent", none) != -1 || errno != ENOENT)
			return 97;
		if (execv("/etc/passwd", none) != -1 || errno != EACCES)
			return 96;
		return execv(words[0], words);
	}
	if (!strcmp(how, "system"))
		return by_system();
	if (!strcmp(how, "spawn"))
		return posix_spawn(&pid, words[0], 0, 0, words, environ) ? 95 : collect(pid);
	if (!strcmp(how, "vfork")) {
		pid = vfork();
		if (!pid) {
			execv(words[0], words);
			_exit(94);
		}
		return collect(pid);
	}
	if (!strcmp(how, "fork") || !strcmp(how, "daemon")) {
		pid = fork();
		if (!pid) {
			if (how[0] == 'd') {
				setsid();
				pid = fork();
				if (pid)
					_exit(collect(pid));
			}
			for (int fd = 3; fd < 256; fd++)
				close(fd);
			execv(words[0], words);
			_exit(93);
		}
		return collect(pid);
	}
	return 92;
}

int main(int argc, char **argv)
{
	int sum = 0;

	for (int i = 0; i < 10; i++)
		sum = stage_step(sum);
	if (sum != 10)
		return 91;
	if (argc < 3)
		return 0;
	words = argv + 2;
	return start(argv[1]);
}
