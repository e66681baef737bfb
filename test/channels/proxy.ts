/** A TCP proxy that mistreats its connections: it cuts, stalls and delays them, as a seed says. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import { portOf } from "../node/support.js"

/** A small generator of numbers from 0 to 1 (mulberry32). */
export const random = (seed: number): () => number => {
  let state = seed >>> 0
  return () => {
    state = state + 0x6d2b79f5 >>> 0
    let mixed = Math.imul(state ^ state >>> 15, 1 | state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 4294967296
  }
}

interface Pair {
  readonly client: Net.Socket
  readonly server: Net.Socket
  readonly timers: Set<NodeJS.Timeout>
  stalled: boolean
}

export class Proxy {
  /** What was done to connections so far. */
  readonly done = { cuts: 0, resets: 0, stalls: 0, delays: 0 }
  readonly server: Net.Server
  private readonly pairs = new Set<Pair>()
  private calm = false
  private readonly next: () => number
  private readonly target: number

  constructor(target: number, seed: number) {
    this.target = target
    this.next = random(seed)
    this.server = Net.createServer((client) => this.accept(client))
  }

  get url(): string {
    return `ws://127.0.0.1:${portOf(this.server)}/connection/websocket`
  }

  private accept(client: Net.Socket): void {
    const server = Net.connect(this.target, "127.0.0.1")
    const pair: Pair = { client, server, timers: new Set(), stalled: false }
    this.pairs.add(pair)
    const end = () => {
      if (!this.pairs.delete(pair)) return
      for (const timer of pair.timers) clearTimeout(timer)
      client.destroy()
      server.destroy()
    }
    for (const [from, to] of [[client, server], [server, client]] as const) {
      from.setNoDelay(true)
      from.on("error", () => {})
      from.on("close", end)
      from.on("data", (chunk: Buffer) => {
        // Torn into two, so that frames arrive in pieces.
        const at = Math.floor(this.next() * chunk.length)
        if (at > 0) to.write(chunk.subarray(0, at))
        to.write(chunk.subarray(at))
      })
      from.on("end", () => to.end())
    }
    this.plan(pair)
  }

  /** Decides what happens next to a connection, and when. */
  private plan(pair: Pair): void {
    if (this.calm) return
    this.after(pair, 50 + this.next() * 700, () => {
      const choice = this.next()
      if (choice < 0.35) {
        this.done.cuts++
        pair.client.destroy()
      } else if (choice < 0.5) {
        this.done.resets++
        pair.server.resetAndDestroy()
        pair.client.resetAndDestroy()
      } else {
        const long = choice < 0.75
        this.done[long ? "stalls" : "delays"]++
        for (const socket of [pair.client, pair.server]) socket.pause()
        this.after(pair, long ? 200 + this.next() * 600 : 5 + this.next() * 40, () => {
          for (const socket of [pair.client, pair.server]) socket.resume()
          this.plan(pair)
        })
      }
    })
  }

  private after(pair: Pair, delay: number, run: () => void): void {
    const timer = setTimeout(() => {
      pair.timers.delete(timer)
      run()
    }, delay)
    pair.timers.add(timer)
  }

  /** From now on it does no harm. */
  get rest(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.calm = true
      for (const { client, server, timers } of this.pairs) {
        for (const timer of timers) clearTimeout(timer)
        timers.clear()
        client.resume()
        server.resume()
      }
    })
  }

  /** Cuts everybody who is connected. */
  get close(): Effect.Effect<void> {
    return Effect.async((resume) => {
      this.server.close(() => resume(Effect.void))
      for (const { client } of this.pairs) client.destroy()
    })
  }
}

/** Listens on a free port, until the scope closes. */
export const proxy = (target: number, seed: number): Effect.Effect<Proxy, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<Proxy>((resume) => {
      const proxy = new Proxy(target, seed)
      proxy.server.listen(0, "127.0.0.1", () => resume(Effect.succeed(proxy)))
    }),
    (proxy) => proxy.close
  )
