/**
 * One command of the model, and what commands are made of.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import type { Client } from "./Client.js"
import type { World } from "./World.js"

/**
 * One command: what it does, and whether the next follows before all has settled.
 *
 * @internal
 */
export interface Command {
  readonly name: string
  readonly run: <R>(world: World<R>) => Effect.Effect<void>
}

/** @internal */
export const kinds = <A>(arbitrary: FastCheck.Arbitrary<A>, make: (a: A) => Command): FastCheck.Arbitrary<Command> =>
  arbitrary.map(make)

/** @internal */
export const anyone = FastCheck.oneof(FastCheck.nat(1), FastCheck.nat(7))

/** @internal */
export const topic = FastCheck.constantFrom("a", "b", "c")

/**
 * A command for one connection, if there is one.
 *
 * @internal
 */
export const forOne = (name: string, run: <R>(world: World<R>, client: Client) => Effect.Effect<void>) =>
  kinds(anyone, (at) => ({
    name: `${name}(${at})`,
    run: (world) => {
      const client = world.pick(at)
      return client === undefined ? Effect.void : run(world, client)
    }
  }))
