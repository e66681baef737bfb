/**
 * Joins what is published often: at most one message per key and window.
 *
 * @since 1.0.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { Hub } from "./Hub.js"
import { InvalidOption } from "./HubError.js"
import { Signal } from "./Signal.js"

/**
 * How messages are joined, and what becomes of the result. Sizes are what `size` says: bytes, as a rule.
 *
 * @since 1.0.0
 * @category models
 */
export interface Options<A, R = never> {
  /** The first message under a key opens a window of this length; what is pending is published when it ends. */
  readonly window: Duration.DurationInput
  /** Joins two messages into one. `earlier` may be joined already. */
  readonly combine: (earlier: A, later: A) => A
  /**
   * Whether two messages may be joined. If not, both are published when the window ends, one after the other. Defaults
   * to always.
   */
  readonly canCombine?: ((earlier: A, later: A) => boolean) | undefined
  /**
   * Publishes what a window has gathered, with `hub.publish` as a rule. Calls follow one another, so it should not wait
   * for long; it cannot be interrupted, and a defect is logged.
   */
  readonly publish: (key: string, message: A) => Effect.Effect<unknown, never, R>
  /**
   * Whether a message that finds no open window is published at once; what follows within a window is then joined.
   * Defaults to `false`.
   */
  readonly leading?: boolean | undefined
  /**
   * The size of a message, joined or not. Defaults to the length of text or bytes, and of the JSON of anything else, and
   * for joined messages to the sum of their parts.
   */
  readonly size?: ((message: A) => number) | undefined
  /** Pending under one key. A message that would exceed it ends the window early. Defaults to 65536. */
  readonly keyBytes?: number | undefined
  /**
   * Pending under all keys, the keys included. A message that exceeds it ends the oldest windows early: no offer waits
   * for a window, and nothing is dropped. Defaults to 16777216.
   */
  readonly totalBytes?: number | undefined
}

/**
 * Takes messages, and publishes them joined. Messages under one key are published in the order of the offers.
 *
 * @since 1.0.0
 * @category models
 */
export interface Coalesce<in A> {
  /** Adds a message under a key. Does not wait for the end of the window. */
  readonly offer: (key: string, message: A) => Effect.Effect<void>
  /** Publishes all that is pending now. */
  readonly flush: Effect.Effect<void>
  /** Publishes what is pending under a key now: before a message that must not overtake it. */
  readonly flushKey: (key: string) => Effect.Effect<void>
}

/** What is pending under a key. Without messages, it keeps the next one waiting: the key was published just now. */
interface Window<A> {
  readonly key: string
  readonly due: number
  readonly messages: Array<A>
  bytes: number
  /** Of the last message. */
  lastBytes: number
}

/** What a window costs beside its key and messages, so that a flood of keys is bounded too. */
const overhead = 128

const sizeOf = (message: unknown): number =>
  typeof message === "string"
    ? message.length
    : message instanceof Uint8Array
    ? message.byteLength
    : JSON.stringify(message)?.length ?? 0

const check = (key: string, value: number | undefined, fallback: number): Effect.Effect<number, InvalidOption> => {
  const actual = value ?? fallback
  return Number.isSafeInteger(actual) && actual > 0
    ? Effect.succeed(actual)
    : Effect.fail(new InvalidOption({ key, expected: "a whole number above 0", actual }))
}

/**
 * The length of a window, in milliseconds.
 *
 * @internal
 */
export const checkWindow = (window: Duration.DurationInput): Either.Either<number, InvalidOption> => {
  const millis = Option.map(Duration.decodeUnknown(window), Duration.toMillis)
  return Option.isSome(millis) && millis.value >= 1 && millis.value < 2 ** 31
    ? Either.right(millis.value)
    : Either.left(
      new InvalidOption({ key: "window", expected: "a duration from 1 millisecond to 24 days", actual: window })
    )
}

/**
 * Makes a coalescer, for as long as the current scope is open. What is pending is published when the scope closes, and
 * when the hub begins to drain; what is offered after that is published at once.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = <A, R = never>(
  options: Options<A, R>
): Effect.Effect<Coalesce<A>, InvalidOption, Hub | Scope.Scope | R> =>
  Effect.gen(function*() {
    const { canCombine = () => true, combine, leading = false, size = sizeOf } = options
    const length = yield* checkWindow(options.window)
    const keyBytes = yield* check("keyBytes", options.keyBytes, 65536)
    const totalBytes = yield* check("totalBytes", options.totalBytes, 16777216)
    const hub = yield* Hub
    const context = yield* Effect.context<R>()
    const clock = yield* Effect.clock
    const lock = Effect.unsafeMakeSemaphore(1)
    const changed = new Signal()

    /** By key. Windows are equally long, so the order in which they were opened is the order in which they end. */
    const windows = new Map<string, Window<A>>()
    /** Windows that have ended, in the order in which to publish them. */
    let ready: Array<Window<A>> = []
    /** In the open windows. */
    let pendingBytes = 0
    let ended = false

    /** In milliseconds, from a clock that is never set back. */
    const now = (): number => Number(clock.unsafeCurrentTimeNanos() / 1_000_000n)

    const open = (key: string): Window<A> => {
      const window = { key, due: now() + length, messages: [], bytes: key.length + overhead, lastBytes: 0 }
      windows.set(key, window)
      pendingBytes += window.bytes
      changed.notify()
      return window
    }

    const end = (window: Window<A>): void => {
      windows.delete(window.key)
      pendingBytes -= window.bytes
      if (window.messages.length === 0) return
      ready.push(window)
      if (leading && !ended) open(window.key)
    }

    /** Ends a window that has something to publish. */
    const flush = (window: Window<A> | undefined): void => {
      if (window !== undefined && window.messages.length > 0) end(window)
    }

    const flushAll = (): void => Array.from(windows.values()).forEach(flush)

    const endDue = (): void => {
      const time = now()
      for (const window of windows.values()) {
        if (window.due > time) return
        end(window)
      }
    }

    const add = (key: string, message: A): void => {
      const bytes = size(message)
      const opened = windows.get(key)
      if (opened !== undefined && opened.bytes + bytes > keyBytes) flush(opened)
      const found = windows.get(key)
      const window = found ?? open(key)
      const last = window.messages.length - 1
      const earlier = window.messages[last]
      const before = window.bytes
      if (earlier !== undefined && canCombine(earlier, message)) {
        const joined = window.messages[last] = combine(earlier, message)
        window.bytes -= window.lastBytes
        window.lastBytes = options.size?.(joined) ?? window.lastBytes + bytes
      } else {
        window.messages.push(message)
        window.lastBytes = bytes
      }
      window.bytes += window.lastBytes
      pendingBytes += window.bytes - before
      if (ended || leading && found === undefined) end(window)
      for (const oldest of windows.values()) {
        if (pendingBytes <= totalBytes) return
        end(oldest)
      }
    }

    const publish = (key: string, message: A) =>
      Effect.suspend(() => options.publish(key, message)).pipe(
        Effect.provide(context),
        Effect.catchAllCause((cause) =>
          Effect.annotateLogs(Effect.logError("A coalesced message could not be published", cause), {
            package: "effect-ws-hub",
            key
          })
        )
      )

    /** One fiber after the other, so that what is offered first is published first. */
    const publishReady = lock.withPermits(1)(Effect.suspend(() => {
      const batch = ready
      ready = []
      return Effect.forEach(
        batch,
        (window) => Effect.forEach(window.messages, (message) => publish(window.key, message), { discard: true }),
        { discard: true }
      )
    }))

    const publishAfter = (change: () => void): Effect.Effect<void> =>
      Effect.uninterruptible(Effect.suspend(() => {
        change()
        return ready.length > 0 ? publishReady : Effect.void
      }))

    /** One fiber for all windows. */
    const timer = Effect.forever(Effect.zipRight(
      changed.until(() => windows.size > 0),
      Effect.suspend(() => {
        const [first] = windows.values()
        const wait = first === undefined ? 0 : first.due - now()
        return wait > 0 ? Effect.sleep(wait) : publishAfter(endDue)
      })
    ))

    const stop = publishAfter(() => {
      ended = true
      flushAll()
      windows.clear()
      pendingBytes = 0
    })

    yield* hub.beforeDrain(Effect.flatMap(hub.state, (state) => state === "Open" ? publishAfter(flushAll) : stop))
    yield* Effect.addFinalizer(() => stop)
    yield* Effect.forkScoped(Effect.interruptible(timer))

    return {
      offer: (key, message) => publishAfter(() => add(key, message)),
      flush: publishAfter(flushAll),
      flushKey: (key) => publishAfter(() => flush(windows.get(key)))
    }
  })
