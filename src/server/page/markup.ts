/**
 * The page's HTML.
 */

const icon =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' " +
  "r='3' fill='%234f46e5'/%3E%3Ccircle cx='8' cy='8' r='6.5' fill='none' stroke='%234f46e5' stroke-width='1.5'/%3E%3C/svg%3E"

/**
 * One document, which loads nothing.
 */
export const markup = (style: string, sdk: string, script: string): string =>
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>effect-ws-hub</title>
<link rel="icon" href="${icon}">
<style>${style}</style>
</head>
<body>
<header>
  <h1>effect-ws-hub</h1>
  <p id="state" role="status" data-state="connecting">
    <span class="dot" aria-hidden="true"></span><span id="status">Connecting</span>
  </p>
  <form id="connection">
    <label for="token">Token</label>
    <input id="token" spellcheck="false" autocomplete="off" autocapitalize="none" placeholder="none"
      title="A JSON Web Token; effect-ws-hub gen-token makes one">
    <button type="submit">Connect</button>
    <button id="disconnect" type="button" disabled>Disconnect</button>
    <button id="cut" type="button" disabled
      title="Disconnects for 5 seconds. What others publish meanwhile is recovered.">Cut for 5 s</button>
  </form>
  <p id="problem" role="alert"></p>
</header>
<main>
  <nav aria-label="Channels">
    <form id="join">
      <label class="unseen" for="name">Channel</label>
      <input id="name" maxlength="255" required spellcheck="false" autocomplete="off" autocapitalize="none"
        placeholder="Channel">
      <button type="submit">Subscribe</button>
    </form>
    <p id="unusable" role="alert"></p>
    <ul id="channels"></ul>
  </nav>
  <section aria-labelledby="channel">
    <div id="about">
      <h2 id="channel"></h2>
      <span id="position"></span>
      <button id="history" type="button" title="Reads the newest 20 publications of the channel">History</button>
      <button id="leave" type="button">Unsubscribe</button>
      <details id="who"><summary id="count"></summary><ul id="members"></ul></details>
    </div>
    <div id="scroller" tabindex="0" role="region" aria-label="Publications">
      <p id="none" hidden>Subscribe to a channel, to see what is published in it.</p>
      <p id="empty">Nothing has been published since you came. Open this page in a second tab: what one publishes, both
        see. Then cut the connection of one, publish in the other, and see it recovered.</p>
    </div>
    <form id="say">
      <label class="unseen" for="kind">Kind of data</label>
      <select id="kind"><option value="text">Text</option><option value="json">JSON</option></select>
      <label class="unseen" for="text">Data</label>
      <input id="text" autocomplete="off" placeholder="Publish to everyone in the channel" aria-describedby="refusal">
      <button id="send" type="submit" aria-disabled="true">Publish</button>
      <p id="refusal" role="alert"></p>
    </form>
  </section>
</main>
<noscript><p class="noscript">This page needs JavaScript: it talks to the hub over a WebSocket.</p></noscript>
<script>${sdk}</script>
<script type="module">${script}</script>
</body>
</html>
`
