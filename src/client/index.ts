/**
 * The client of a hub, over the official SDK (`centrifuge`). Runs in browsers and in Node.
 *
 * @since 1.0.0
 */
export * as Channel from "../channels/ChannelDefinition.js"
export { ProtocolError } from "../channels/ProtocolCode.js"
export type { ClientInfo, Publication, StreamPosition } from "../channels/Publication.js"
export * as Client from "./Client.js"
export * as ClientChannel from "./ClientChannel.js"
export * from "./ClientError.js"
export type { ClientOptions, Token, WebSocketConstructor } from "./ClientOptions.js"
export type { ClientState, Connected, Connecting, Disconnected } from "./Connection.js"
export type { Overflow } from "./Reader.js"
export type {
  Event,
  History,
  Member,
  Published,
  ReadOptions,
  Recovered,
  RequestError,
  SubscribeError,
  SubscribeOptions,
  Subscription
} from "./Subscription.js"
