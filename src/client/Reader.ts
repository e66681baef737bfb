/**
 * What waits for one reader of a stream: bounded, filled by callbacks.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { StreamPosition } from "../channels/Publication.js"
import { Signal } from "../core/Signal.js"
import { Gap, SlowReader } from "./ClientError.js"

/**
 * What becomes of an event that finds the buffer full.
 *
 * `fail`: the stream fails with `SlowReader`, after what is in the buffer. `drop-newest`: the event is dropped.
 * `drop-oldest`: the oldest one is. Where events were dropped there is a `Gap` that counts them.
 *
 * @since 1.0.0
 * @category models
 */
export type Overflow = "fail" | "drop-newest" | "drop-oldest"

/**
 * Makes room for an event, and adds it or not. Returns what the stream fails with, if it does.
 *
 * @internal
 */
export type OnFull<A, E> = (items: Array<A>, event: A) => E | undefined

/** No event at all. */
const nothing = new Gap({ reason: "overflow", lost: 0, position: undefined })

const asGap = (event: unknown): Gap =>
  event instanceof Gap ? event : new Gap({ reason: "overflow", lost: 1, position: undefined })

/** Where the stream goes on behind an event that is missing too: state that is read anew has it in it. */
const behind = (position: StreamPosition | undefined, event: unknown): StreamPosition | undefined => {
  if (event === nothing) return position
  if (event instanceof Gap) return event.position
  const offset = Predicate.hasProperty(event, "offset") && Predicate.isNumber(event.offset) ? event.offset : 0
  return position === undefined ? undefined : { ...position, offset: Math.max(position.offset, offset) }
}

/** One gap in the place of two events that follow each other. */
const joined = (one: unknown, other: unknown): Gap => {
  const [first, second] = [asGap(one), asGap(other)]
  return new Gap({
    reason: first.reason === "overflow" ? second.reason : first.reason,
    lost: first.lost === undefined || second.lost === undefined ? undefined : first.lost + second.lost,
    position: behind(first.position, other)
  })
}

/**
 * A `Gap` is one event more than the buffer holds, so that it is read in its place and at once.
 *
 * @internal
 */
export const onFull = <A>(overflow: Overflow, bufferSize: number): OnFull<A | Gap, SlowReader> => {
  switch (overflow) {
    case "fail":
      return () => new SlowReader({ bufferSize })
    case "drop-newest":
      return (items, event) => {
        const last = items.at(-1) instanceof Gap ? items.pop() : nothing
        items.push(joined(last, event))
        return undefined
      }
    case "drop-oldest":
      return (items, event) => {
        const second = items[0] instanceof Gap && items.length > 1 ? items[1] : nothing
        items.splice(0, second === nothing ? 1 : 2, joined(items[0], second))
        items.push(event)
        return undefined
      }
  }
}

/**
 * Only the newest counts.
 *
 * @internal
 */
export const latest = <A>(items: Array<A>, event: A): undefined => {
  items.splice(0, items.length, event)
}

/** @internal */
export class Reader<A, E> {
  private readonly items: Array<A> = []
  private end: Effect.Effect<never, Option.Option<E>> | undefined
  private readonly changed = new Signal()
  private readonly bufferSize: number
  private readonly onFull: OnFull<A, E>

  constructor(bufferSize: number, onFull: OnFull<A, E>) {
    this.bufferSize = Math.max(1, bufferSize)
    this.onFull = onFull
  }

  /** How many events wait. */
  get size(): number {
    return this.items.length
  }

  /** Adds an event, and never waits. After the end it does nothing. */
  readonly offer = (event: A): void => {
    if (this.end !== undefined) return
    if (this.items.length < this.bufferSize) this.items.push(event)
    else {
      const error = this.onFull(this.items, event)
      if (error !== undefined) return this.fail(error)
    }
    this.changed.notify()
  }

  /** The stream ends after what is in the buffer. The first end counts. */
  done(): void {
    this.finish(Effect.fail(Option.none()))
  }

  /** The stream fails after what is in the buffer. The first end counts. */
  fail(error: E): void {
    this.finish(Effect.fail(Option.some(error)))
  }

  private finish(end: Effect.Effect<never, Option.Option<E>>): void {
    this.end ??= end
    this.changed.notify()
  }

  private get ready(): boolean {
    return this.items.length > 0 || this.end !== undefined
  }

  private readonly take: Effect.Effect<A, Option.Option<E>> = Effect.suspend(() => {
    if (this.items.length > 0) return Effect.succeed(this.items.shift() as A)
    return this.end ?? Effect.zipRight(this.changed.until(() => this.ready), this.take)
  })

  /** One event at a time, so that a run that stops leaves the rest for the next one. */
  readonly stream: Stream.Stream<A, E> = Stream.repeatEffectOption(this.take)
}

/**
 * Readers of the same events, each from when its stream runs.
 *
 * @internal
 */
export class Readers<A, E> {
  private readonly readers = new Set<Reader<A, E>>()
  private end: ((reader: Reader<A, E>) => void) | undefined

  readonly offer = (event: A): void => {
    for (const reader of this.readers) reader.offer(event)
  }

  /** Ends all of them, and those to come. */
  finish(end: (reader: Reader<A, E>) => void): void {
    this.end ??= end
    for (const reader of this.readers) this.end(reader)
  }

  /** What a reader gets that `make` made. */
  stream(make: () => Reader<A, E>): Stream.Stream<A, E> {
    return Stream.unwrapScoped(
      Effect.acquireRelease(
        Effect.sync(() => {
          const reader = make()
          this.readers.add(reader)
          this.end?.(reader)
          return reader
        }),
        (reader) => Effect.sync(() => this.readers.delete(reader))
      ).pipe(Effect.map((reader) => reader.stream))
    )
  }
}
