// packages: libuv
// libuv: the loop, its thread pool, async wake-ups of other threads, timers, TCP, pipes to
// children, signals, semaphores.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

static uv_loop_t* loop;
static int works, afters, asyncs, ticks, echoed, exits, signals;
static uv_mutex_t mutex;
static uv_async_t async;
static uv_sem_t semaphore;

static void work(uv_work_t* request) {
    (void)request;
    uv_sleep(1);
    uv_mutex_lock(&mutex);
    works++;
    uv_mutex_unlock(&mutex);
}
static void after(uv_work_t* request, int status) {
    afters += status == 0;
    free(request);
}
static void on_async(uv_async_t* handle) {
    if (++asyncs > 0) uv_close((uv_handle_t*)handle, NULL);
}
static void sender(void* data) {
    (void)data;
    uv_sem_wait(&semaphore);
    uv_async_send(&async);
}
static void on_timer(uv_timer_t* timer) {
    if (++ticks == 10) uv_close((uv_handle_t*)timer, NULL);
}
static void allocate(uv_handle_t* handle, size_t size, uv_buf_t* buffer) {
    (void)handle;
    *buffer = uv_buf_init(malloc(size), (unsigned)size);
}
static void written(uv_write_t* request, int status) {
    (void)status;
    free(request->data);
    free(request);
}
static void echo(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
    if (size < 0) {
        free(buffer->base);
        uv_close((uv_handle_t*)stream, (uv_close_cb)free);
        return;
    }
    uv_write_t* request = malloc(sizeof *request);
    uv_buf_t out = uv_buf_init(buffer->base, (unsigned)size);
    request->data = buffer->base;
    uv_write(request, stream, &out, 1, written);
}
static int accepted;
static void on_connection(uv_stream_t* server, int status) {
    uv_tcp_t* client = malloc(sizeof *client);
    uv_tcp_init(loop, client);
    if (status == 0 && uv_accept(server, (uv_stream_t*)client) == 0)
        uv_read_start((uv_stream_t*)client, allocate, echo);
    if (++accepted == 20) uv_close((uv_handle_t*)server, NULL);
}
static int port;
static void client(void* data) {  // plain blocking sockets of other threads
    (void)data;
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", port, &address);
    int fd = socket(AF_INET, SOCK_STREAM, 0), good = 0;
    if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0) return;
    for (int i = 0; i < 20; i++) {
        char got[8] = "";
        good += write(fd, "message", 8) == 8 && recv(fd, got, 8, MSG_WAITALL) == 8 &&
                strcmp(got, "message") == 0;
    }
    close(fd);
    uv_mutex_lock(&mutex);
    echoed += good;
    uv_mutex_unlock(&mutex);
}
static void on_end(uv_process_t* process, int64_t status, int signal) {
    exits += status == 7 && signal == 0;
    uv_close((uv_handle_t*)process, NULL);
}
static void on_signal(uv_signal_t* handle, int number) {
    signals += number == SIGUSR1;
    uv_close((uv_handle_t*)handle, NULL);
}
static int resolved;
static void on_address(uv_getaddrinfo_t* request, int status, struct addrinfo* result) {
    (void)request;
    resolved = status == 0 && result != NULL;
    uv_freeaddrinfo(result);
}
static int stats;
static void on_stat(uv_fs_t* request) {
    stats += request->result == 0;
    uv_fs_req_cleanup(request);
    free(request);
}

int main(void) {
    loop = uv_default_loop();
    uv_mutex_init(&mutex);
    uv_sem_init(&semaphore, 0);
    for (int i = 0; i < 100; i++) uv_queue_work(loop, malloc(sizeof(uv_work_t)), work, after);
    uv_async_init(loop, &async, on_async);
    uv_thread_t threads[21];
    uv_thread_create(&threads[20], sender, NULL);
    uv_sem_post(&semaphore);
    uv_timer_t timer;
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, on_timer, 1, 1);

    uv_tcp_t server;
    struct sockaddr_in address;
    uv_tcp_init(loop, &server);
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_bind(&server, (struct sockaddr*)&address, 0);
    uv_listen((uv_stream_t*)&server, 50, on_connection);
    int length = sizeof address;
    uv_tcp_getsockname(&server, (struct sockaddr*)&address, &length);
    port = ntohs(address.sin_port);
    for (int i = 0; i < 20; i++) uv_thread_create(&threads[i], client, NULL);

    uv_process_t children[5];
    char* arguments[] = {"sh", "-c", "exit 7", NULL};
    uv_process_options_t options = {.file = "sh", .args = arguments, .exit_cb = on_end};
    for (int i = 0; i < 5; i++) uv_spawn(loop, &children[i], &options);
    uv_signal_t handle;
    uv_signal_init(loop, &handle);
    uv_signal_start(&handle, on_signal, SIGUSR1);
    uv_kill(getpid(), SIGUSR1);
    uv_getaddrinfo_t request;
    uv_getaddrinfo(loop, &request, on_address, "localhost", NULL, NULL);
    for (int i = 0; i < 50; i++)
        uv_fs_stat(loop, malloc(sizeof(uv_fs_t)), "/proc/self/status", on_stat);

    int left = uv_run(loop, UV_RUN_DEFAULT);
    for (int i = 0; i < 21; i++) uv_thread_join(&threads[i]);
    printf("left %d work %d after %d async %d ticks %d\n", left, works, afters, asyncs, ticks);
    printf("echo %d exits %d signals %d resolved %d stats %d\n", echoed, exits, signals, resolved,
           stats);
    printf("close %d\n", uv_loop_close(loop));
}
