// packages: gio-2.0 gthread-2.0
// GLib: GThread, GMutex, GCond, GPrivate, GAsyncQueue, GThreadPool, GMainLoop with sources of other
// threads, GTask, GSocketService, g_spawn.
#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

static GMutex mutex;
static GCond condition;
static int total, awake;
static GPrivate own = G_PRIVATE_INIT(g_free);

static gpointer count(gpointer data) {
    g_private_set(&own, g_strdup_printf("%d", GPOINTER_TO_INT(data)));
    for (int i = 0; i < 200; i++) {
        g_mutex_lock(&mutex);
        total++;
        g_mutex_unlock(&mutex);
    }
    g_mutex_lock(&mutex);
    while (!awake) g_cond_wait(&condition, &mutex);
    g_mutex_unlock(&mutex);
    return GINT_TO_POINTER(atoi(g_private_get(&own)) == GPOINTER_TO_INT(data));
}

static void square(gpointer data, gpointer queue) {
    g_async_queue_push(queue, GINT_TO_POINTER(GPOINTER_TO_INT(data) * GPOINTER_TO_INT(data)));
}

static GMainLoop* loop;
static int ticks, idles, tasks_done;
static gboolean on_tick(gpointer data) {
    (void)data;
    return ++ticks < 5;
}
static gboolean on_idle(gpointer data) {
    (void)data;
    if (++idles == 40) g_main_loop_quit(loop);
    return FALSE;
}
static gpointer post(gpointer data) {
    for (int i = 0; i < 10; i++) g_idle_add(on_idle, NULL);
    return data;
}
static void in_task(GTask* task, gpointer source, gpointer data, GCancellable* cancellable) {
    (void)source, (void)cancellable;
    g_task_return_int(task, GPOINTER_TO_INT(data) * 2);
}
static long task_sum;
static void task_over(GObject* source, GAsyncResult* result, gpointer data) {
    (void)source, (void)data;
    task_sum += g_task_propagate_int(G_TASK(result), NULL);
    if (++tasks_done == 20) g_main_loop_quit(loop);
}

static gboolean serve(GThreadedSocketService* service, GSocketConnection* connection,
                      GObject* source, gpointer data) {
    (void)service, (void)source, (void)data;
    char text[64];
    GInputStream* in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
    GOutputStream* out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
    for (gssize n; (n = g_input_stream_read(in, text, sizeof text, NULL, NULL)) > 0;)
        g_output_stream_write_all(out, text, (gsize)n, NULL, NULL, NULL);
    return TRUE;
}
static int clients_left = 20;
static gboolean client_over(gpointer data) {
    (void)data;
    if (--clients_left == 0) g_main_loop_quit(loop);
    return FALSE;
}
static gpointer client(gpointer port) {
    GSocketClient* maker = g_socket_client_new();
    GSocketConnection* c = g_socket_client_connect_to_host(
        maker, "127.0.0.1", (guint16)GPOINTER_TO_INT(port), NULL, NULL);
    int good = 0;
    for (int i = 0; c != NULL && i < 20; i++) {
        char text[8] = "message", got[8] = "";
        g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(c)), text, 8, NULL,
                                  NULL, NULL);
        g_input_stream_read_all(g_io_stream_get_input_stream(G_IO_STREAM(c)), got, 8, NULL, NULL,
                                NULL);
        good += memcmp(text, got, 8) == 0;
    }
    if (c != NULL) g_object_unref(c);
    g_object_unref(maker);
    g_idle_add(client_over, NULL);
    return GINT_TO_POINTER(good);
}

int main(void) {
    GThread* threads[40];
    for (int i = 0; i < 40; i++) threads[i] = g_thread_new("count", count, GINT_TO_POINTER(i));
    g_mutex_lock(&mutex);
    awake = 1;
    g_cond_broadcast(&condition);
    g_mutex_unlock(&mutex);
    int right = 0;
    for (int i = 0; i < 40; i++) right += GPOINTER_TO_INT(g_thread_join(threads[i]));
    printf("threads %d private %d\n", total, right);
    g_mutex_lock(&mutex);
    printf("timed %d\n", g_cond_wait_until(&condition, &mutex, g_get_monotonic_time() + 5000));
    g_mutex_unlock(&mutex);

    GAsyncQueue* queue = g_async_queue_new();
    GThreadPool* pool = g_thread_pool_new(square, queue, 8, FALSE, NULL);
    for (int i = 1; i <= 500; i++) g_thread_pool_push(pool, GINT_TO_POINTER(i), NULL);
    long sum = 0;
    for (int i = 0; i < 500; i++) sum += GPOINTER_TO_INT(g_async_queue_pop(queue));
    g_thread_pool_free(pool, FALSE, TRUE);
    printf("pool %ld empty %d\n", sum, g_async_queue_timeout_pop(queue, 2000) == NULL);

    loop = g_main_loop_new(NULL, FALSE);
    g_timeout_add(1, on_tick, NULL);
    for (int i = 0; i < 4; i++) threads[i] = g_thread_new("post", post, NULL);
    g_main_loop_run(loop);
    for (int i = 0; i < 4; i++) g_thread_join(threads[i]);
    while (ticks < 5) g_main_context_iteration(NULL, TRUE);
    printf("loop %d ticks %d\n", idles, ticks);
    for (int i = 0; i < 20; i++) {
        GTask* task = g_task_new(NULL, NULL, task_over, NULL);
        g_task_set_task_data(task, GINT_TO_POINTER(i), NULL);
        g_task_run_in_thread(task, in_task);
        g_object_unref(task);
    }
    g_main_loop_run(loop);
    printf("tasks %ld\n", task_sum);

    GSocketService* service = g_threaded_socket_service_new(30);
    guint16 port = g_socket_listener_add_any_inet_port(G_SOCKET_LISTENER(service), NULL, NULL);
    g_signal_connect(service, "run", G_CALLBACK(serve), NULL);
    g_socket_service_start(service);
    for (int i = 0; i < 20; i++)
        threads[i] = g_thread_new("client", client, GINT_TO_POINTER((int)port));
    g_main_loop_run(loop);
    int good = 0;
    for (int i = 0; i < 20; i++) good += GPOINTER_TO_INT(g_thread_join(threads[i]));
    printf("service %d\n", good);
    char* out = NULL;
    g_spawn_command_line_sync("echo spawned", &out, NULL, NULL, NULL);
    printf("%s", out);
    return 0;
}
