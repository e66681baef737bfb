/**
 * A name that is listened to.
 *
 * @since 1.0.0
 */
import { afterReading } from "./RedisReading.js"

/**
 * Called once: with an error, or when it is subscribed.
 *
 * @internal
 */
export type Waiter = (error: unknown) => void

/**
 * A name that somebody wants to hear, or wanted until a moment ago.
 *
 * @internal
 */
export class Subscription {
  readonly owner: string
  readonly name: string
  isWanted = true
  /** Whoever wants it was told that it is subscribed, and hears of a gap if it was not for a while. Nobody waits then. */
  isHeard = false
  /** Whether its messages come, on the present connection. */
  state: "Joining" | "Live" | "Lost" | "Restored" = "Lost"
  waiters: Array<Waiter> = []
  leaveAt = 0

  constructor(owner: string, name: string) {
    this.owner = owner
    this.name = name
  }

  /** Adds one who waits, for so many milliseconds; then it waits no longer, and is told of the error that `expire` returns. */
  wait(done: Waiter, millis: number, expire: () => unknown): void {
    const waiter: Waiter = (error) => {
      clearTimeout(timer)
      done(error)
    }
    const leave = () => {
      if (!this.waiters.includes(waiter)) return
      this.waiters = this.waiters.filter((other) => other !== waiter)
      done(expire())
    }
    const timer = setTimeout(() => afterReading(leave), millis)
    this.waiters.push(waiter)
  }

  /** Tells all who wait. */
  answer(error: unknown): void {
    const { waiters } = this
    this.waiters = []
    for (const waiter of waiters) waiter(error)
  }
}

/** Names in one command: others must not wait too long for their turn. */
const chunk = 5000

/** @internal */
export const nameOf = ({ name }: Subscription): string => name

/** @internal */
export const isMoved = (error: unknown): boolean => error instanceof Error && error.message.startsWith("MOVED")

/**
 * What may go in one command: not too many, and in a Cluster, which has slots, names of one slot.
 *
 * @internal
 */
export const groupsOf = <A>(
  all: ReadonlyArray<A>,
  name: (one: A) => string,
  slotOf: ((name: string) => number) | undefined
): ReadonlyArray<Array<A>> => {
  if (slotOf === undefined) {
    return Array.from(
      { length: Math.ceil(all.length / chunk) },
      (_, index) => all.slice(index * chunk, (index + 1) * chunk)
    )
  }
  const groups = new Map<number, Array<A>>()
  for (const one of all) {
    const slot = slotOf(name(one))
    const group = groups.get(slot)
    if (group === undefined) groups.set(slot, [one])
    else group.push(one)
  }
  return Array.from(groups.values())
}
