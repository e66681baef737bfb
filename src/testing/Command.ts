/**
 * One command of the model, and what commands are made of.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import type { Client, Participant } from "./Client.js"
import type { World } from "./World.js"

/**
 * One thing that happens in a run of the model. Half of the time the next one follows before all has settled.
 *
 * @since 1.0.0
 * @category models
 */
export interface Command<out E = never, out R = never> {
  /** How a failure tells it. */
  readonly name: string
  /** Does it, and checks what must hold right then: a failure or a defect fails the run. */
  readonly run: (world: World) => Effect.Effect<unknown, E, R>
}

/** @internal */
export const kinds = <A>(arbitrary: FastCheck.Arbitrary<A>, make: (a: A) => Command): FastCheck.Arbitrary<Command> =>
  arbitrary.map(make)

/** @internal */
export const anyone = FastCheck.oneof(FastCheck.nat(1), FastCheck.nat(7))

/** @internal */
export const topic = FastCheck.constantFrom("a", "b", "c")

/**
 * A command for one of the peers, whichever it is, and one of the values. It does nothing while there is none. The peer
 * may have left, or read nothing.
 *
 * @since 1.0.0
 * @category constructors
 */
export const forOne = <A, E, R>(
  name: string,
  values: FastCheck.Arbitrary<A>,
  run: (participant: Participant, value: A) => Effect.Effect<unknown, E, R>
): FastCheck.Arbitrary<Command<E, R>> =>
  FastCheck.tuple(anyone, values).map(([at, value]): Command<E, R> => ({
    name: `${name}(${at}${value === undefined ? "" : `, ${FastCheck.stringify(value)}`})`,
    run: ({ participants }) => {
      const participant = participants[at % participants.length]
      return participant === undefined ? Effect.void : run(participant, value)
    }
  }))

/**
 * A command for one connection, if there is one, with what the model knows of it.
 *
 * @internal
 */
export const forClient = (name: string, run: (world: World, client: Client) => Effect.Effect<void>) =>
  kinds(anyone, (at) => ({
    name: `${name}(${at})`,
    run: (world) => {
      const client = world.pick(at)
      return client === undefined ? Effect.void : run(world, client)
    }
  }))
