/**
 * Commands for a Cluster, whose slots move.
 *
 * @since 1.0.0
 */
import { RedisBound, unitsOf } from "./RedisBound.js"
import type { Done } from "./RedisLink.js"
import type { RedisConfig } from "./RedisOptions.js"
import { afterReading, late } from "./RedisReading.js"
import type { RedisShard } from "./RedisShard.js"
import { slotCount } from "./RedisSlots.js"

/**
 * A node of the Cluster, and how the others name it.
 *
 * @internal
 */
export interface Place {
  readonly address: string
  readonly shard: RedisShard
}

/**
 * What the calls need to know of the Cluster.
 *
 * @internal
 */
export interface Places {
  /** Who has the slot, as far as is known. */
  readonly ownerOf: (slot: number) => Place | undefined
  /** Connects to it, if that was not so yet. */
  readonly at: (address: string) => Place | undefined
  /** A node said so. */
  readonly moved: (slot: number, address: string) => void
  /** Slots are not as they were thought to be. */
  readonly refresh: () => void
}

/** Milliseconds before the same is tried again, times the number of attempts so far, and at most. */
const pause = 25
const longestPause = 200

class Call {
  readonly number: number
  readonly slot: number
  readonly args: Array<string>
  readonly runAt: number
  readonly weight: number
  readonly done: Done
  readonly deadline: number
  /** How often it was sent elsewhere, or was too early, and with which words. */
  attempts = 0
  reason: Error | undefined
  notBefore = 0
  /** Where it is to go, though another has the slot. */
  asked: string | undefined
  isSettled = false
  timer: NodeJS.Timeout | undefined

  constructor(
    number: number,
    slot: number,
    args: Array<string>,
    runAt: number,
    weight: number,
    done: Done,
    deadline: number
  ) {
    this.number = number
    this.slot = slot
    this.args = args
    this.runAt = runAt
    this.weight = weight
    this.done = done
    this.deadline = deadline
  }

  settle(error: unknown, reply: unknown): void {
    if (this.isSettled) return
    this.isSettled = true
    clearTimeout(this.timer)
    this.done(error, reply)
  }
}

/** Calls for one slot that wait, in their order. */
class Queue {
  calls: Array<Call> = []
  /** The first one got through: the others can go together. */
  isOpen = false
  isSending = false
  timer: NodeJS.Timeout | undefined

  add(call: Call): void {
    let at = this.calls.length
    while (at > 0 && (this.calls[at - 1]?.number ?? 0) > call.number) at--
    this.calls.splice(at, 0, call)
  }
}

const addressIn = (from: Place, error: Error): string => {
  const address = error.message.split(" ")[2] ?? ""
  // Without a host it is that of who says so.
  return address.startsWith(":") ? from.address.slice(0, from.address.lastIndexOf(":")) + address : address
}

/**
 * Commands are done in the order of the calls, though the Cluster may send some of them elsewhere: while one of a slot
 * waits to be sent again, later ones of that slot wait behind it. All have `commandTimeout` from the call.
 *
 * @internal
 */
export class RedisCalls {
  private readonly config: RedisConfig
  private readonly places: Places
  private readonly bound: RedisBound
  private readonly queues = new Map<number, Queue>()
  /** Sent and not answered, by slot. */
  private readonly underWay = new Uint32Array(slotCount)
  private made = 0

  constructor(config: RedisConfig, places: Places) {
    this.config = config
    this.places = places
    this.bound = new RedisBound(config)
  }

  /** `runAt`, `weight`: as for `RedisShard`. */
  call(slot: number, args: Array<string>, runAt: number, weight: number, done: Done): void {
    const deadline = performance.now() + this.config.commandTimeout
    const call = new Call(++this.made, slot, args, runAt, weight, done, deadline)
    if (this.queues.size === 0 || !this.queues.has(slot)) return this.send(call, this.places.ownerOf(slot))
    const { refusal } = this.bound
    if (refusal !== undefined) return done(refusal, undefined)
    this.wait(call)
  }

  /** Ends all that waits. */
  close(): void {
    for (const { calls, timer } of this.queues.values()) {
      clearTimeout(timer)
      for (const call of calls) call.settle(new Error("Redis is not connected"), undefined)
    }
    this.queues.clear()
  }

  private send(call: Call, to: Place | undefined): void {
    const { slot } = call
    if (to === undefined) return call.settle(new Error("Redis is not connected"), undefined)
    // The next command on this connection, and only that, may use a slot that is on its way there.
    if (call.asked !== undefined) to.shard.commands.command(["ASKING"], 0, () => {})
    call.asked = undefined
    this.count(slot, 1)
    to.shard.command(call.args, call.runAt, call.weight, (error, reply) => {
      this.count(slot, -1)
      const queue = this.queues.get(slot)
      if (!this.isElsewhere(call, to, error)) {
        if (queue !== undefined) queue.isOpen = true
        call.settle(error, reply)
      } else if (!call.isSettled) this.wait(call)
      this.advance(slot)
    })
  }

  private count(slot: number, by: number): void {
    this.underWay[slot] = (this.underWay[slot] ?? 0) + by
  }

  /** Notes where a command is to be sent, if the answer is that. */
  private isElsewhere(call: Call, from: Place, error: unknown): boolean {
    if (!(error instanceof Error)) return false
    const [kind] = error.message.split(" ", 1)
    if (kind === "MOVED" || kind === "CLUSTERDOWN") this.places.refresh()
    if (kind === "MOVED") this.places.moved(call.slot, addressIn(from, error))
    else if (kind === "ASK") call.asked = addressIn(from, error)
    else if (kind !== "TRYAGAIN") return false
    call.reason = error
    // Who is told for the first time where to go can go there at once.
    const isKnown = kind === "ASK" || kind === "MOVED" && call.attempts === 0
    call.notBefore = isKnown ? 0 : performance.now() + Math.min(pause * ++call.attempts, longestPause)
    return true
  }

  private wait(call: Call): void {
    const { slot } = call
    let queue = this.queues.get(slot)
    if (queue === undefined) this.queues.set(slot, queue = new Queue())
    queue.isOpen = false
    queue.add(call)
    this.bound.add(call.weight, unitsOf(call.args))
    call.timer ??= setTimeout(() => afterReading(() => this.expire(call)), call.deadline - performance.now())
  }

  private leave(call: Call, queue: Queue): void {
    queue.calls.splice(queue.calls.indexOf(call), 1)
    this.bound.remove(call.weight, unitsOf(call.args))
  }

  private expire(call: Call): void {
    const queue = this.queues.get(call.slot)
    if (queue?.calls.includes(call) === true) this.leave(call, queue)
    call.settle(call.reason ?? late(this.config), undefined)
    this.advance(call.slot)
  }

  /**
   * Sends what waits for a slot, once all that was sent before is answered. The first goes alone: where it is sent
   * elsewhere again, the others must not overtake it.
   */
  private advance(slot: number): void {
    const queue = this.queues.get(slot)
    if (queue === undefined || queue.isSending || this.underWay[slot] !== 0) return
    const [first] = queue.calls
    if (first === undefined) return void this.queues.delete(slot)
    if (!queue.isOpen) {
      const to = this.placeOf(first)
      const wait = first.notBefore - performance.now()
      if (wait <= 0 && to?.shard.commands.isReady === true) {
        this.leave(first, queue)
        return this.send(first, to)
      }
      queue.timer ??= setTimeout(() => {
        queue.timer = undefined
        this.advance(slot)
      }, Math.max(pause, wait))
      return
    }
    // Who calls meanwhile comes after these.
    queue.isSending = true
    for (let call = queue.calls[0]; call !== undefined; call = queue.calls[0]) {
      this.leave(call, queue)
      this.send(call, this.placeOf(call))
    }
    this.queues.delete(slot)
  }

  private placeOf({ asked, slot }: Call): Place | undefined {
    return asked === undefined ? this.places.ownerOf(slot) : this.places.at(asked)
  }
}
