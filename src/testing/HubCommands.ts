/**
 * The commands of the model, and how often each comes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import type { Message } from "../core/Frame.js"
import * as App from "./ApplicationCommands.js"
import { anyone, type Command, kinds } from "./Command.js"
import * as Peer from "./PeerCommands.js"

/**
 * What the world does to a handler, whosever it is.
 *
 * @internal
 */
export const outside: ReadonlyArray<FastCheck.WeightedArbitrary<Command>> = [
  { weight: 8, arbitrary: Peer.connect },
  { weight: 4, arbitrary: Peer.pauseReading },
  { weight: 4, arbitrary: Peer.resumeReading },
  { weight: 2, arbitrary: Peer.peerClose },
  { weight: 2, arbitrary: Peer.reset },
  { weight: 1, arbitrary: Peer.protocolError },
  { weight: 1, arbitrary: Peer.ignorePings },
  { weight: 1, arbitrary: Peer.ignoreClose },
  { weight: 2, arbitrary: App.kick },
  { weight: 1, arbitrary: App.interrupt },
  { weight: 4, arbitrary: Peer.advance },
  { weight: 3, arbitrary: App.start }
]

/** What ends a run, as a rule: seldom, so that there is something to end. */
const ends: ReadonlyArray<FastCheck.WeightedArbitrary<Command>> = [
  { weight: 1, arbitrary: App.kickAll },
  { weight: 1, arbitrary: App.drain },
  { weight: 1, arbitrary: FastCheck.constant(App.closeHub) }
]

/** What the application and the model's own handler do besides. */
const inside: ReadonlyArray<FastCheck.WeightedArbitrary<Command>> = [
  { weight: 4, arbitrary: Peer.receive },
  { weight: 8, arbitrary: App.publish },
  { weight: 3, arbitrary: App.send },
  { weight: 5, arbitrary: App.join },
  { weight: 2, arbitrary: App.leave },
  { weight: 4, arbitrary: Peer.finishGreeting },
  { weight: 2, arbitrary: Peer.stall },
  { weight: 2, arbitrary: Peer.unstall },
  { weight: 2, arbitrary: Peer.tell }
]

/**
 * All commands that the model can predict, with its own handler.
 *
 * @internal
 */
export const scripted: FastCheck.Arbitrary<Command> = FastCheck.oneof(...outside, ...inside, ...ends)

/**
 * The commands for an application's handler, and the messages that its peers send.
 *
 * @internal
 */
export const applied = (messages: FastCheck.Arbitrary<Message>): FastCheck.Arbitrary<Command> =>
  FastCheck.oneof(...outside, ...ends, {
    weight: 12,
    arbitrary: kinds(FastCheck.tuple(anyone, messages), ([at, message]): Command => ({
      name: `receive(${at}, ${typeof message === "string" ? JSON.stringify(message) : `${message.length} bytes`})`,
      run: (world) => world.pick(at)?.peer.send(message) ?? Effect.void
    }))
  })
