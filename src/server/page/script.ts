/**
 * The page's script. A string, because it runs in browsers and the page holds it as it stands. This half is the connection
 * and what the user does; it goes behind that of the channels, whose functions it calls.
 */
import { channels } from "./channels.js"

export const script: string = `${channels}
let away
const setState = (state, status) => {
  $("state").dataset.state = state
  $("status").textContent = status
  $("disconnect").disabled = state === "disconnected"
  $("cut").disabled = state !== "connected" && state !== "away"
  $("cut").textContent = state === "away" ? "Come back now" : "Cut for " + awaySeconds + " s"
  draw()
}
const endAway = () => {
  clearTimeout(away)
  away = undefined
}

client.on("connecting", ({ code, reason }) => {
  setState("connecting", code === 0 ? "Connecting" : "Connecting again: " + reason)
})
client.on("connected", ({ client }) => {
  own.add(client)
  $("problem").textContent = ""
  setState("connected", "Connected as " + client.slice(0, 8))
})
client.on("disconnected", (context) => {
  if (away !== undefined) return setState("away", "Away for " + awaySeconds + " seconds")
  setState("disconnected", "Disconnected")
  if (context.code === 0) return
  const hint = $("token").value.trim() === ""
    ? " It may want a token: effect-ws-hub gen-token makes one."
    : " The token may be wrong or have expired."
  $("problem").textContent = "The connection ended: " + coded(context) + "." +
    (aboutTokens.includes(context.code) ? hint : "")
})
client.on("error", ({ error }) => {
  if (client.state === "connecting") setState("connecting", "Connecting: " + error.message)
})

$("connection").addEventListener("submit", (event) => {
  event.preventDefault()
  endAway()
  client.disconnect()
  client.setToken($("token").value.trim())
  $("problem").textContent = ""
  for (const { subscription } of channels.values()) subscription?.subscribe()
  client.connect()
})
$("disconnect").addEventListener("click", () => {
  endAway()
  if (client.state === "disconnected") return setState("disconnected", "Disconnected")
  client.disconnect()
})
$("cut").addEventListener("click", () => {
  if (away !== undefined) {
    endAway()
    client.connect()
    return
  }
  away = setTimeout(() => {
    away = undefined
    client.connect()
  }, awaySeconds * 1000)
  client.disconnect()
})

const named = () => {
  try {
    const names = location.hash.slice(1).split(",").map(decodeURIComponent).filter((name) => name !== "")
    return names.length === 0 ? ["lobby"] : names
  } catch {
    return ["lobby"]
  }
}
const writeHash = () => {
  const names = [...channels.values()].filter(({ server }) => !server).map(({ name }) => encodeURIComponent(name))
  history.replaceState(null, "", "#" + names.join(","))
}

addEventListener("hashchange", () => {
  const names = named()
  for (const channel of [...channels.values()]) {
    if (!channel.server && !names.includes(channel.name)) unsubscribe(channel)
  }
  const first = subscribeAll(names)
  select(channels.has(selected?.name) ? selected : first)
})

$("join").addEventListener("submit", (event) => {
  event.preventDefault()
  select(subscribeAll([$("name").value]))
  $("join").reset()
  writeHash()
})
$("leave").addEventListener("click", () => {
  unsubscribe(selected)
  select([...channels.values()][0])
  writeHash()
  $("name").focus()
})
$("history").addEventListener("click", async () => {
  const channel = selected
  try {
    const { offset, publications } = await client.history(channel.name, { limit: 20, reverse: true })
    show(channel, "note", "History: the newest " + publications.length + " up to offset " + offset)
    for (const publication of publications.reverse()) showPublication(channel, publication, "history")
  } catch (error) {
    show(channel, "note bad", "No history: " + coded(error))
  }
})

const refuse = (message, invalid = false) => {
  $("refusal").textContent = message
  $("text").setAttribute("aria-invalid", invalid)
}

$("say").addEventListener("submit", async (event) => {
  event.preventDefault()
  const text = $("text").value
  if (selected === undefined) return refuse("Subscribe to a channel first.")
  if (client.state !== "connected") return refuse("Not published: not connected.")
  if (text === "") return
  let data = text
  if ($("kind").value === "json") {
    try {
      data = JSON.parse(text)
    } catch (error) {
      return refuse("This is not JSON: " + error.message, true)
    }
  }
  refuse("")
  $("text").value = ""
  try {
    await client.publish(selected.name, data)
  } catch (error) {
    if ($("text").value === "") $("text").value = text
    refuse("Not published: " + coded(error))
  }
})
$("kind").addEventListener("change", () => refuse(""))

select(subscribeAll(named()))
client.connect()
`
