/**
 * Channels as the program serves them: who may connect, where, and the server API.
 */
import * as Layer from "effect/Layer"
import * as Channels from "../channels/Channels.js"
import * as ChannelsLive from "../channels/ChannelsLive.js"
import * as ServerApi from "../channels/ServerApi.js"
import * as Tokens from "../channels/Tokens.js"
import * as NodeUpgrade from "../node/NodeUpgrade.js"
import * as LibraryOptions from "./LibraryOptions.js"
import type { ServerConfig } from "./ServerConfig.js"

/**
 * The channels service.
 */
export const channels = (config: ServerConfig, version: string) =>
  Layer.provide(
    ChannelsLive.layer({ ...LibraryOptions.channels(config), version }),
    Tokens.layer(LibraryOptions.tokens(config))
  )

/**
 * `/connection/websocket`, and the server API if there are keys for it.
 */
export const routes = ({ apiKeys, origins, trustedProxies }: ServerConfig) =>
  Layer.merge(
    NodeUpgrade.layer("/connection/websocket", { ...Channels.mount, origins, trustedProxies }),
    ServerApi.layer({ keys: apiKeys })
  )
