/**
 * What a broker does, said as simply as possible, and random operations to compare it with.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import type * as Scope from "effect/Scope"
import { Broker, type BrokerError, type StreamOptions, type Version } from "../channels/Broker.js"
import { type BrokerLaw, type BrokerLawsOptions, Heard, valued } from "./BrokerStage.js"
import { checkProperty, eventually, freshName, type LawBroken, type Same, sameFor, tickOf } from "./Law.js"

/** Channels are numbers here; a time is a number of ticks. */
type Operation =
  | {
    readonly _tag: "publish"
    readonly channel: number
    readonly kept: boolean
    readonly key: string | undefined
    readonly version: Version | undefined
  }
  | {
    readonly _tag: "history"
    readonly channel: number
    readonly since: number | undefined
    readonly limit: number | undefined
    readonly reverse: boolean
  }
  | { readonly _tag: "remove" | "subscribe" | "unsubscribe"; readonly channel: number }
  | { readonly _tag: "wait"; readonly ticks: number }

const channels = 2

/** Limits lie between two ticks, so that a clock that is real need not be exact. */
const times = { ttl: 2.5, metaTtl: 5.5, window: 3.5 }
const size = 3

const channel = FastCheck.nat(channels - 1)
const small = FastCheck.option(FastCheck.nat(6), { nil: undefined })

const version = FastCheck.record({
  number: FastCheck.integer({ min: 1, max: 4 }),
  epoch: FastCheck.constantFrom("", "a", "b")
})

const operation: FastCheck.Arbitrary<Operation> = FastCheck.oneof(
  {
    weight: 6,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("publish" as const),
      channel,
      kept: FastCheck.constantFrom(true, true, true, false),
      key: FastCheck.constantFrom(undefined, undefined, "a", "b"),
      version: FastCheck.option(version, { nil: undefined })
    })
  },
  {
    weight: 4,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("history" as const),
      channel,
      since: small,
      limit: small,
      reverse: FastCheck.boolean()
    })
  },
  {
    weight: 3,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constantFrom("remove" as const, "subscribe" as const, "unsubscribe" as const),
      channel
    })
  },
  {
    weight: 2,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("wait" as const), ticks: FastCheck.constantFrom(1, 2, 4) })
  }
)

interface ModelStream {
  readonly number: number
  offset: number
  kept: ReadonlyArray<{ readonly offset: number; readonly data: number }>
  keptUntil: number
  until: number
  /** Known for certain until then. */
  version: (Version & { readonly until: number }) | undefined
}

/** Epochs are numbers here, 0 for none. */
interface Position {
  readonly offset: number
  readonly epoch: number
}

class Model {
  now = 0
  private streams = 0
  private readonly channels = new Map<number, ModelStream>()
  private readonly outcomes = new Map<string, { readonly until: number; readonly position: Position }>()
  readonly subscribed = new Set<number>()
  readonly heard: Array<Array<Position & { readonly data: number }>> = Array.from({ length: channels }, () => [])

  stream(channel: number): ModelStream {
    let stream = this.channels.get(channel)
    if (stream === undefined || this.now > stream.until) {
      stream = { number: ++this.streams, offset: 0, kept: [], keptUntil: 0, until: 0, version: undefined }
      this.channels.set(channel, stream)
    }
    if (this.now > stream.keptUntil) stream.kept = []
    stream.until = this.now + times.metaTtl
    return stream
  }

  /** A version whose outcome is certain: above one that the broker may have forgotten by now, and need not have. */
  certain(channel: number, version: Version): Version {
    const last = this.channels.get(channel)?.version
    return last !== undefined && this.now > last.until ? { ...version, number: last.number + 1 } : version
  }

  publish(
    channel: number,
    data: number,
    kept: boolean,
    key: string | undefined,
    version: Version | undefined
  ): Position {
    const earlier = this.outcomes.get(`${channel} ${key}`)
    if (key !== undefined && earlier !== undefined && this.now < earlier.until) return earlier.position
    const stream = kept ? this.stream(channel) : undefined
    const isMade = stream === undefined || version === undefined || this.isNewer(stream, version)
    if (stream !== undefined && isMade) {
      stream.kept = [...stream.kept, { offset: ++stream.offset, data }].slice(-size)
      stream.keptUntil = this.now + times.ttl
    }
    const position = stream === undefined ? { offset: 0, epoch: 0 } : { offset: stream.offset, epoch: stream.number }
    if (key !== undefined) this.outcomes.set(`${channel} ${key}`, { until: this.now + times.window, position })
    if (isMade && this.subscribed.has(channel)) this.heard[channel]?.push({ ...position, data })
    return position
  }

  /** If it is, it is the last version from here on. If not, the last one is known for longer. */
  private isNewer(stream: ModelStream, version: Version): boolean {
    const last = stream.version
    const isNewer = last === undefined || version.epoch !== "" && version.epoch !== last.epoch ||
      version.number > last.number
    const { epoch, number } = isNewer ? version : last
    stream.version = { epoch, number, until: this.now + times.metaTtl }
    return isNewer
  }

  history({ channel, limit, reverse, since }: Operation & { readonly _tag: "history" }) {
    const stream = this.stream(channel)
    const kept = reverse ? Array.from(stream.kept).reverse() : stream.kept
    return {
      position: { offset: stream.offset, epoch: stream.number },
      publications: kept
        .filter(({ offset }) => since === undefined || (reverse ? offset < since : offset > since))
        .slice(0, limit)
    }
  }

  remove(channel: number): void {
    const stream = this.channels.get(channel)
    if (stream !== undefined) stream.kept = []
  }
}

/** Epochs by the number that the model gives them: the same for the same, and different for different ones. */
class Epochs {
  private readonly numbers = new Map<string, number>([["", 0]])

  number(epoch: string, expected: number): number {
    const known = this.numbers.get(epoch)
    if (known !== undefined) return known
    if (Array.from(this.numbers.values()).includes(expected)) return -1
    this.numbers.set(epoch, expected)
    return expected
  }
}

const runOnce = <R>(
  operations: ReadonlyArray<Operation>,
  same: Same,
  options: BrokerLawsOptions<R>
): Effect.Effect<void, LawBroken | BrokerError, R | Broker | Scope.Scope> =>
  Effect.gen(function*() {
    const tick = tickOf(options)
    const stream: StreamOptions = { size, ttl: times.ttl * tick, metaTtl: times.metaTtl * tick }
    const broker = valued(yield* Broker)
    const name = yield* freshName
    const nameOf = (channel: number) => `${name}-${channel}`
    const model = new Model()
    const epochs = new Epochs()
    const heard = yield* Effect.forEach(model.heard, (_, channel) => Heard.listen(broker, nameOf(channel)))

    const run = (operation: Operation, index: number) =>
      Effect.gen(function*() {
        switch (operation._tag) {
          case "publish": {
            const { channel, kept, key } = operation
            const version = kept && operation.version ? model.certain(channel, operation.version) : undefined
            const expected = model.publish(channel, index, kept, key, version)
            const position = yield* broker.publish(nameOf(channel), {
              data: index,
              stream: kept ? stream : undefined,
              idempotencyKey: key,
              idempotencyWindow: times.window * tick,
              version
            })
            const epoch = epochs.number(position?.epoch ?? "", expected.epoch)
            return yield* same("position", { offset: position?.offset ?? 0, epoch }, expected)
          }
          case "history": {
            const { channel, limit, reverse, since } = operation
            const expected = model.history(operation)
            const { position, publications } = yield* broker.history(nameOf(channel), {
              stream,
              limit,
              reverse,
              since: since === undefined ? undefined : { offset: since, epoch: "" }
            })
            return yield* same("history", {
              position: { offset: position.offset, epoch: epochs.number(position.epoch, expected.position.epoch) },
              publications: publications.map(({ data, offset }) => ({ data, offset }))
            }, expected)
          }
          case "remove":
            model.remove(operation.channel)
            return yield* broker.removeHistory(nameOf(operation.channel))
          // A node subscribes once, and unsubscribes once.
          case "subscribe":
            if (model.subscribed.has(operation.channel)) return
            model.subscribed.add(operation.channel)
            return yield* broker.subscribe(nameOf(operation.channel))
          case "unsubscribe":
            if (!model.subscribed.delete(operation.channel)) return
            return yield* broker.unsubscribe(nameOf(operation.channel))
          case "wait":
            model.now += operation.ticks
            yield* options.wait(operation.ticks * tick)
        }
      })

    const checkHeard = Effect.forEach(model.heard, (expected, channel) =>
      Effect.gen(function*() {
        const listener = heard[channel]
        if (listener === undefined) return
        yield* eventually(options, () => listener.events.length >= expected.length)
        const all = listener.events.flatMap((event, index) =>
          event._tag !== "Published" ? [] : [{
            data: event.publication.data,
            offset: event.publication.offset,
            epoch: epochs.number(event.epoch, expected[index]?.epoch ?? -1)
          }]
        )
        yield* same(`heard of channel ${channel}`, all, expected)
      }), { discard: true })

    yield* Effect.forEach(operations, (operation, index) => Effect.zipRight(run(operation, index), checkHeard), {
      discard: true
    })
    yield* Effect.forEach(model.subscribed, (channel) => broker.unsubscribe(nameOf(channel)), { discard: true })
  })

/** @internal */
export const agreesWithModel = <R>(options: BrokerLawsOptions<R>): BrokerLaw<R> => {
  const name = "any operations in any order have the results that the laws predict"
  const { numRuns = 100, seed } = options
  return {
    name,
    check: checkProperty<BrokerError | LawBroken, R | Broker>(name, (run) =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(operation, { maxLength: 30 }),
          (operations) => run(Effect.scoped(runOnce(operations, sameFor(name), options)))
        ),
        { numRuns, ...(seed === undefined ? {} : { seed }) }
      ))
  }
}
