/**
 * The Effect hub that one writes first: an unbounded Queue for each connection's inbox and one for its outbox, a fiber
 * that takes and sends, a fiber that takes and handles. `effect` is the library's own copy.
 */
import { Effect, FiberSet, Queue } from "effect"
import { createServer } from "node:http"
import { WebSocketServer } from "ws"

const program = Effect.gen(function*() {
  const outboxes = new Set()
  const run = yield* FiberSet.makeRuntime()

  const send = (socket, text) => Effect.sync(() => socket.send(text))

  const publish = (text) => Effect.forEach(outboxes, (outbox) => Queue.offer(outbox, text), { discard: true })

  const serve = (socket, inbox, echo) =>
    Effect.gen(function*() {
      const outbox = yield* Queue.unbounded()
      if (!echo) {
        yield* Effect.acquireRelease(
          Effect.sync(() => outboxes.add(outbox)),
          () => Effect.sync(() => outboxes.delete(outbox))
        )
      }
      yield* Effect.forkScoped(Effect.forever(Effect.flatMap(Queue.take(outbox), (text) => send(socket, text))))
      yield* Effect.forkScoped(
        Effect.forever(Effect.flatMap(Queue.take(inbox), (text) => (echo ? Queue.offer(outbox, text) : publish(text))))
      )
      yield* Effect.async((resume) => {
        socket.on("close", () => resume(Effect.void))
      })
    }).pipe(Effect.scoped)

  const server = createServer((_request, response) => response.writeHead(404).end())
  const sockets = new WebSocketServer({ server, perMessageDeflate: false })
  sockets.on("connection", (socket, request) => {
    const inbox = Effect.runSync(Queue.unbounded())
    socket.on("error", () => {})
    socket.on("message", (data) => Queue.unsafeOffer(inbox, data.toString()))
    run(serve(socket, inbox, request.url === "/echo"))
  })
  const options = { port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 }
  server.listen(options, () => console.log("ready"))
  yield* Effect.never
})

Effect.runFork(Effect.scoped(program))
