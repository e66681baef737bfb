/**
 * A model of the hub's lifecycle, to test hubs and handlers with: commands in any order, and what must hold after each.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Supervisor from "effect/Supervisor"
import type { Message } from "../core/Frame.js"
import type { Handler, HandlerOptions } from "../core/Handler.js"
import * as Hub from "../core/Hub.js"
import type { HubOptions } from "../core/HubConfig.js"
import { closeHub } from "./ApplicationCommands.js"
import type { Participant } from "./Client.js"
import type { Command } from "./Command.js"
import { expect } from "./Expectation.js"
import { lifecycle, predicted, receive } from "./HubCommands.js"
import { check as checkInvariants, checkNothingLeft } from "./HubInvariants.js"
import { limits, type Setup, tick } from "./Setup.js"
import { VirtualClock } from "./VirtualClock.js"
import { type Enter, World } from "./World.js"

export {
  /**
   * One of the peers in a run, for a command or an invariant to look at.
   *
   * @since 1.0.0
   * @category models
   */
  type Participant
} from "./Client.js"

export {
  /**
   * One thing that happens in a run of the model.
   *
   * @since 1.0.0
   * @category models
   */
  type Command,
  /**
   * A command for one of the peers, whichever it is, and one of the values.
   *
   * @since 1.0.0
   * @category constructors
   */
  forOne
} from "./Command.js"

export {
  /**
   * What happens to a handler, whosever it is, and how often.
   *
   * @since 1.0.0
   * @category testing
   */
  lifecycle,
  /**
   * A peer sends one of these messages.
   *
   * @since 1.0.0
   * @category testing
   */
  receive
} from "./HubCommands.js"

export {
  /**
   * A run of the model, as commands see it.
   *
   * @since 1.0.0
   * @category models
   */
  type World
} from "./World.js"

/**
 * How many runs, and how to repeat one that failed: with the seed and the path that its message tells.
 *
 * @since 1.0.0
 * @category models
 */
export interface RunOptions {
  /** Defaults to 100. */
  readonly numRuns?: number | undefined
  /** Commands in a run at most. Defaults to 40. */
  readonly maxCommands?: number | undefined
  /** Defaults to a random one. */
  readonly seed?: number | undefined
  readonly path?: string | undefined
}

/**
 * A handler to test, with its peers' messages and with what must hold of it.
 *
 * @since 1.0.0
 * @category models
 */
export interface CheckOptions<E, R, E1, R1, E2, R2, E3 = never, R3 = never>
  extends RunOptions, HandlerOptions<undefined, E, E1, R1>
{
  readonly handler: Handler<undefined, E, R>
  /** What the peers send. Defaults to any text of up to 10 characters, or to nothing if there are `commands`. */
  readonly messages?: FastCheck.Arbitrary<Message> | undefined
  /** What happens besides: some of the {@link lifecycle}, and commands of your own. Defaults to all of the lifecycle. */
  readonly commands?: ReadonlyArray<FastCheck.MaybeWeightedArbitrary<Command<E3, R3>>> | undefined
  /** Runs whenever nothing is left to do but to wait. A failure or a defect fails the run. Defaults to none. */
  readonly invariant?: ((participants: ReadonlyArray<Participant>) => Effect.Effect<unknown, E2, R2>) | undefined
  /** The hub's options. Its times are set by the model: a grace of 300 ms, a drain of 1 s, a ping after 1 s. */
  readonly hub?: HubOptions | undefined
}

/** What is done again and again in one `check`. */
interface Plan {
  readonly options: (setup: Setup) => HubOptions
  readonly application: Enter | undefined
  readonly settled: (world: World) => Effect.Effect<void, never, Hub.Hub>
}

/** A command whose failures are defects, and which needs the hub alone. */
type Ready = Command<never, Hub.Hub>

/** Real time after which a command that does not return is given up. */
const stuck = 10_000

/** A command, and whether the next one follows before all has settled: the lower-level form that fast-check runs. */
class Step implements FastCheck.AsyncCommand<object, World> {
  private readonly command: Ready
  private readonly together: boolean
  private readonly plan: Plan

  constructor(command: Ready, together: boolean, plan: Plan) {
    this.command = command
    this.together = together
    this.plan = plan
  }

  check(): boolean {
    return true
  }

  async run(_: object, world: World): Promise<void> {
    const settled = this.together ? Effect.void : Effect.zipRight(world.settle, this.plan.settled(world))
    let timer: ReturnType<typeof setTimeout> | undefined
    const giveUp = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`L9: ${this.command.name} does not return`)), stuck)
    })
    const run = Runtime.runPromise(world.runtime)(Effect.zipRight(this.command.run(world), settled))
    await Promise.race([run, giveUp]).finally(() => clearTimeout(timer))
  }

  toString(): string {
    return this.together ? `${this.command.name} &` : this.command.name
  }
}

const build = (setup: Setup, plan: Plan, clock: VirtualClock) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const ready = yield* Deferred.make<void>()
    const hub = yield* Scope.extend(
      Hub.make(plan.options(setup), setup.late ? Deferred.await(ready) : undefined),
      scope
    )
    const runtime = yield* Effect.provideService(Effect.runtime<Hub.Hub>(), Hub.Hub, hub)
    return new World(hub, clock, setup, scope, ready, runtime, plan.application)
  })

/** One run: a new hub, the commands, and then its end, after which nothing may be left. */
const runOnce = (steps: Iterable<FastCheck.AsyncCommand<object, World>>, setup: Setup, plan: Plan) =>
  Effect.gen(function*() {
    const clock = new VirtualClock()
    const supervisor = yield* Supervisor.track
    const world = yield* build(setup, plan, clock).pipe(
      Logger.withMinimumLogLevel(LogLevel.None),
      Effect.supervised(supervisor),
      Effect.withClock(clock)
    )
    const settle = Effect.zipRight(world.settle, Effect.provideService(plan.settled(world), Hub.Hub, world.hub))
    yield* world.settle
    yield* Effect.promise(() => FastCheck.asyncModelRun(() => ({ model: {}, real: world }), steps))
    yield* settle
    // Nobody helps the peers and handlers that do not end by themselves: time must do.
    yield* closeHub.run(world)
    const cleanup = Math.max(0, ...world.clients.map((client) => client.behaviour.cleanup))
    const deadline = clock.now + limits.drainDeadline + 2 * limits.closeGrace + cleanup
    yield* world.settle
    while (world.closing?.unsafePoll() === null) {
      expect(clock.now < deadline, "L9", () => "the hub has not closed in time")
      yield* clock.advance(tick, world.settle)
      yield* world.settle
    }
    yield* clock.advance(limits.closeGrace, world.settle)
    yield* settle
    yield* checkNothingLeft(world, (yield* supervisor.value).length)
  })

const settings = (overflow: ReadonlyArray<Setup["overflow"]>): FastCheck.Arbitrary<Setup> =>
  FastCheck.record({
    late: FastCheck.constantFrom(false, false, false, true),
    overflow: FastCheck.constantFrom(...overflow),
    limit: FastCheck.constantFrom(5, 1000)
  })

const assert = (
  runs: RunOptions,
  settings: FastCheck.Arbitrary<Setup>,
  commands: FastCheck.Arbitrary<Ready>,
  plan: Plan
): Effect.Effect<void> =>
  Effect.promise(() => {
    const { maxCommands = 40, numRuns = 100, path, seed } = runs
    const steps = FastCheck.commands(
      [
        FastCheck.tuple(commands, FastCheck.boolean()).map(([command, together]) => new Step(command, together, plan))
      ],
      { maxCommands, size: "max" }
    )
    return FastCheck.assert(
      FastCheck.asyncProperty(settings, steps, (setup, steps) => Effect.runPromise(runOnce(steps, setup, plan))),
      { numRuns, ...seed === undefined ? {} : { seed }, ...path === undefined ? {} : { path } }
    )
  })

/**
 * Tests the hub itself, with a handler that the model tells what to do: connects, slow greetings, messages in and out,
 * peers that leave in every way or do not read, failures, interrupts, heartbeats, drain and close, in any order.
 *
 * @since 1.0.0
 * @category testing
 */
export const checkHub = (runs: RunOptions = {}): Effect.Effect<void> =>
  assert(
    runs,
    settings(["none", "none", "none", "disconnect", "drop-newest", "drop-oldest", "conflate"]),
    predicted,
    {
      options: (setup) => ({
        connections: setup.limit,
        inboxBytes: 150,
        outboxBytes: setup.overflow === "none" ? 1048576 : 600,
        overflow: setup.overflow === "none" ? "disconnect" : setup.overflow,
        messagesPerSecond: "off",
        ...limits
      }),
      application: undefined,
      settled: checkInvariants
    }
  )

/**
 * Tests a handler: peers connect, send and leave in every way, do not read or do not answer, connections are closed,
 * the hub drains and closes, in any order. After each step and at the end it checks what holds of every hub, and the
 * invariant that is given. A failure tells the commands that lead to it, as few as were found, and the seed and path to
 * repeat it with. Logs of the hub and the handler are off.
 *
 * The handler may not close or drain the hub, and shall not wait for real time: `Effect.sleep` follows the model's clock.
 *
 * @since 1.0.0
 * @category testing
 */
export const check = <E, R, E1 = never, R1 = never, E2 = never, R2 = never, E3 = never, R3 = never>(
  options: CheckOptions<E, R, E1, R1, E2, R2, E3, R3>
): Effect.Effect<void, never, Exclude<R | R1, Scope.Scope | Hub.Hub> | Exclude<R2 | R3, Hub.Hub>> =>
  Effect.flatMap(Effect.context<Exclude<R | R1, Scope.Scope | Hub.Hub> | Exclude<R2 | R3, Hub.Hub>>(), (context) => {
    /** All that is run here requires what `check` does, and the hub of the run. */
    const provide = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Hub.Hub> =>
      Effect.mapInputContext(
        effect,
        (own: Context.Context<Hub.Hub>) => Context.merge(context, own) as Context.Context<R>
      )
    const ready = ({ name, run }: Command<E3, R3>): Ready => ({
      name,
      run: (world) => provide(Effect.orDie(run(world)))
    })
    const commands = options.commands ?? Object.values(lifecycle)
    const messages = options.messages ??
      (options.commands === undefined ? FastCheck.string({ maxLength: 10 }) : undefined)
    return assert(
      options,
      settings(["none"]),
      FastCheck.oneof(...commands, ...messages === undefined ? [] : [receive(messages)]).map(ready),
      {
        options: (setup) => ({ connections: setup.limit, ...options.hub, ...limits }),
        application: (world, client, transport) => provide(world.enter(client, transport, options)),
        settled: (world) =>
          Effect.zipRight(
            checkInvariants(world),
            provide(Effect.orDie(options.invariant?.(world.participants) ?? Effect.void))
          )
      }
    )
  })
