/**
 * The upgrade path of @effect/platform as it comes: `HttpServerRequest.upgrade`, the Socket's `runRaw` and `writer`.
 * Everything is the library's own copy. Not run unless named.
 */
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Queue } from "effect"
import { createServer } from "node:http"

const outboxes = new Set()

const publish = (text) => Effect.forEach(outboxes, (outbox) => Queue.offer(outbox, text), { discard: true })

const serve = (echo) =>
  Effect.gen(function*() {
    const socket = yield* HttpServerRequest.upgrade
    const write = yield* socket.writer
    const outbox = yield* Queue.unbounded()
    if (!echo) {
      yield* Effect.acquireRelease(
        Effect.sync(() => outboxes.add(outbox)),
        () => Effect.sync(() => outboxes.delete(outbox))
      )
    }
    yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(outbox), write)))
    yield* socket.runRaw((text) => (echo ? Queue.offer(outbox, text) : publish(text)))
    return HttpServerResponse.empty()
  }).pipe(
    Effect.scoped,
    Effect.catchAll(() => HttpServerResponse.empty())
  )

const routes = HttpRouter.empty.pipe(HttpRouter.get("/", serve(false)), HttpRouter.get("/echo", serve(true)))

const ready = Layer.effectDiscard(Effect.sync(() => console.log("ready")))
const options = { port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }

ready.pipe(
  Layer.provide(HttpServer.serve(routes)),
  Layer.provide(NodeHttpServer.layer(createServer, options)),
  Layer.launch,
  NodeRuntime.runMain
)
