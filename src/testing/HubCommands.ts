/**
 * The commands of the model, and how often each comes.
 *
 * @since 1.0.0
 */
import * as FastCheck from "effect/FastCheck"
import type { Message } from "../core/Frame.js"
import * as App from "./ApplicationCommands.js"
import { type Command, forOne } from "./Command.js"
import * as Peer from "./PeerCommands.js"

/**
 * What happens to a handler, whosever it is, and how often: peers come and leave in every way, stop reading and fall
 * silent, connections are closed and interrupted, time passes, and, seldom, so that there is something to end, the hub
 * drains or closes.
 *
 * @since 1.0.0
 * @category testing
 */
export const lifecycle = {
  connect: { weight: 8, arbitrary: Peer.connect },
  pauseReading: { weight: 4, arbitrary: Peer.pauseReading },
  resumeReading: { weight: 4, arbitrary: Peer.resumeReading },
  peerClose: { weight: 2, arbitrary: Peer.peerClose },
  reset: { weight: 2, arbitrary: Peer.reset },
  protocolError: { weight: 1, arbitrary: Peer.protocolError },
  ignorePings: { weight: 1, arbitrary: Peer.ignorePings },
  ignoreClose: { weight: 1, arbitrary: Peer.ignoreClose },
  kick: { weight: 2, arbitrary: App.kick },
  interrupt: { weight: 1, arbitrary: App.interrupt },
  advance: { weight: 4, arbitrary: Peer.advance },
  startHub: { weight: 3, arbitrary: App.start },
  kickAll: { weight: 1, arbitrary: App.kickAll },
  drain: { weight: 1, arbitrary: App.drain },
  closeHub: { weight: 1, arbitrary: FastCheck.constant(App.closeHub) }
} satisfies Record<string, FastCheck.WeightedArbitrary<Command>>

/**
 * A peer sends one of these messages.
 *
 * @since 1.0.0
 * @category testing
 */
export const receive = (messages: FastCheck.Arbitrary<Message>): FastCheck.WeightedArbitrary<Command> => ({
  weight: 12,
  arbitrary: forOne("receive", messages, ({ peer }, message) => peer.send(message))
})

/**
 * All commands that the model can predict, with its own handler.
 *
 * @internal
 */
export const predicted: FastCheck.Arbitrary<Command> = FastCheck.oneof(
  ...Object.values(lifecycle),
  { weight: 4, arbitrary: Peer.receive },
  { weight: 8, arbitrary: App.publish },
  { weight: 3, arbitrary: App.send },
  { weight: 5, arbitrary: App.join },
  { weight: 2, arbitrary: App.leave },
  { weight: 4, arbitrary: Peer.finishGreeting },
  { weight: 2, arbitrary: Peer.stall },
  { weight: 2, arbitrary: Peer.unstall },
  { weight: 2, arbitrary: Peer.tell }
)
