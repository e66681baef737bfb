/** A TCP proxy: what stands between a node and Redis, or, with several targets, between clients and nodes. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { portOf } from "../../node/support.js"

export class Line {
  private readonly server: Net.Server
  private readonly pairs = new Map<Net.Socket, Net.Socket>()
  private isOpen = true
  private isFrozen = false
  private next = 0
  /** Ports, taken in turn. One that refuses is passed over. */
  private targets: ReadonlyArray<number>

  private constructor(targets: ReadonlyArray<number>) {
    this.targets = targets
    this.server = Net.createServer((client) => {
      client.on("error", () => {})
      this.connect(client, this.targets.length)
    })
  }

  /** Listens on a free port, until the scope closes. */
  static readonly make = (targets: ReadonlyArray<number>): Effect.Effect<Line, never, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.async<Line>((resume) => {
        const line = new Line(targets)
        line.server.listen(0, "127.0.0.1", () => resume(Effect.succeed(line)))
      }),
      (line) =>
        Effect.async((resume) => {
          line.server.close(() => resume(Effect.void))
          line.end()
        })
    )

  get port(): number {
    return portOf(this.server)
  }

  private connect(client: Net.Socket, tries: number): void {
    const target = this.targets[this.next++ % this.targets.length]
    if (!this.isOpen || tries === 0 || target === undefined) return void client.resetAndDestroy()
    const server = Net.connect(target, "127.0.0.1")
    const refused = () => this.connect(client, tries - 1)
    server.once("error", refused)
    server.once("connect", () => {
      server.off("error", refused)
      if (client.destroyed || !this.isOpen) {
        client.destroy()
        return void server.destroy()
      }
      this.pairs.set(client, server)
      for (const [from, to] of [[client, server], [server, client]] as const) {
        from.setNoDelay(true)
        from.on("error", () => {})
        from.on("close", () => {
          this.pairs.delete(client)
          to.destroy()
        })
        if (!this.isFrozen) from.pipe(to)
      }
    })
  }

  private end(): void {
    for (const [client, server] of this.pairs) {
      client.destroy()
      server.destroy()
    }
  }

  /** Ends all connections; new ones are refused until it is mended. */
  readonly cut: Effect.Effect<void> = Effect.sync(() => {
    this.isOpen = false
    this.end()
  })

  readonly mend: Effect.Effect<void> = Effect.sync(() => {
    this.isOpen = true
  })

  /** Nothing passes any more, and nobody is told. */
  readonly freeze: Effect.Effect<void> = Effect.sync(() => {
    this.isFrozen = true
    for (const [client, server] of this.pairs) {
      client.unpipe(server)
      server.unpipe(client)
    }
  })

  /** What was held back passes, and all that comes. */
  readonly thaw: Effect.Effect<void> = Effect.sync(() => {
    this.isFrozen = false
    for (const [client, server] of this.pairs) {
      client.pipe(server)
      server.pipe(client)
    }
  })

  /** New connections lead there. */
  lead(...targets: ReadonlyArray<number>): Effect.Effect<void> {
    return Effect.sync(() => {
      this.targets = targets
    })
  }
}
