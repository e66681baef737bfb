/**
 * A WebSocket hub for Effect applications.
 *
 * @since 1.0.0
 */
export * as Authenticator from "./channels/Authenticator.js"
export * as Broker from "./channels/Broker.js"
export * as BrokerMemory from "./channels/BrokerMemory.js"
export * as Channels from "./channels/Channels.js"
export type { ChannelsOptions } from "./channels/ChannelsConfig.js"
export * as ChannelsLive from "./channels/ChannelsLive.js"
export * as Namespace from "./channels/Namespace.js"
export * as Presence from "./channels/Presence.js"
export * as PresenceMemory from "./channels/PresenceMemory.js"
export * as ProtocolCode from "./channels/ProtocolCode.js"
export type { ClientInfo, Publication, StreamPosition } from "./channels/Publication.js"
export * as CloseReason from "./core/CloseReason.js"
export * as Coalesce from "./core/Coalesce.js"
export type { Connection } from "./core/Connection.js"
export * as Frame from "./core/Frame.js"
export type { Handler, HandlerOptions } from "./core/Handler.js"
export * as Hub from "./core/Hub.js"
export * as HubConfig from "./core/HubConfig.js"
export * from "./core/HubError.js"
export * as HubMetrics from "./core/HubMetrics.js"
export type { Handshake, Transport, TransportEvents } from "./core/Transport.js"
export * as NodeGuard from "./node/NodeGuard.js"
export * as NodeTransport from "./node/NodeTransport.js"
export * as NodeUpgrade from "./node/NodeUpgrade.js"
