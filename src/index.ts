/**
 * A WebSocket hub for Effect applications.
 *
 * @since 1.0.0
 */
export * as Channel from "./channels/Channel.js"
export * as ProtocolCode from "./channels/ProtocolCode.js"
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
