/**
 * What is sent within one turn of the event loop, written together at its end.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import { Batch } from "./Frame.js"
import * as HubMetrics from "./HubMetrics.js"
import type { Outbox } from "./Outbox.js"
import { writeTo } from "./Transport.js"

/**
 * Decides when the frames of one turn of the event loop are written. The default is `setImmediate`: after the sockets
 * that had something to read were read. Tests may want another.
 *
 * @since 1.0.0
 * @category tags
 */
export class TurnScheduler extends Context.Reference<TurnScheduler>()("effect-ws-hub/TurnScheduler", {
  defaultValue: () => (task: () => void): void => {
    setImmediate(task)
  }
}) {}

/**
 * Joins what is sent within one turn of the event loop: outboxes with something to write are flushed together at the
 * end of the turn, and those that were given the same frames write the same bytes.
 *
 * @internal
 */
export class Turn {
  /** Where every outbox starts in this turn. */
  start = Batch.empty()
  private dirty: Array<Outbox> = []
  private seen: Batch | undefined = undefined
  private waited = 0
  private readonly schedule: (task: () => void) => void

  constructor(schedule: (task: () => void) => void) {
    this.schedule = schedule
  }

  add(outbox: Outbox): void {
    if (this.dirty.push(outbox) === 1) this.schedule(this.flush)
  }

  private readonly flush = (): void => {
    const dirty = this.dirty
    const pending = dirty[0]?.pending
    const fanOut = dirty.length >= crowd && pending === dirty[dirty.length - 1]?.pending
    if (fanOut && pending !== this.seen && this.waited++ < patience) {
      this.seen = pending
      return this.schedule(this.flush)
    }
    this.seen = undefined
    this.waited = 0
    this.dirty = []
    this.start = Batch.empty()
    const frames = dirty.reduce((count, { pending }) => count + (pending?.count ?? 0), 0)
    HubMetrics.flushBatch.unsafeUpdate(frames / dirty.length, [])
    for (let from = 0; from < dirty.length; from += group) flushGroup(dirty.slice(from, from + group))
  }
}

/**
 * Looks at all of them before it writes to the first: a system call takes what is not its own out of the processor's
 * caches, and what is touched after each one costs as much as a tenth of it. What is done about those that fell behind
 * comes after the last write.
 */
const flushGroup = (outboxes: ReadonlyArray<Outbox>): void => {
  const batches = outboxes.map(({ pending }) => pending)
  const streams = outboxes.map((outbox) => outbox.endTurn())
  const behind: Array<Outbox> = []
  const others: Array<Outbox> = []
  outboxes.forEach((outbox, index) => {
    const batch = batches[index]
    const stream = streams[index]
    if (stream === undefined || batch === undefined) others.push(outbox)
    else if (!writeTo(stream, batch.bytes)) behind.push(outbox)
  })
  for (const outbox of behind) outbox.fallBehind()
  for (const outbox of others) outbox.flush()
}

/**
 * Writing the same to this many sockets takes far longer than another look at what else has arrived; so a flush of that
 * size waits, as long as there is more, for a few turns. An idle hub pays one empty turn.
 */
const crowd = 64
const patience = 3

/** Outboxes that are looked at together. */
const group = 128
