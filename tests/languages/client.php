<?php
// A service as they are: reads its config when it is told to, and logs in.
[, $config, $url] = $argv;

while (fgets(STDIN) !== false) {
    $database = json_decode(file_get_contents($config), true, 16, JSON_THROW_ON_ERROR)['database'];
    $pair = base64_encode("{$database['username']}:{$database['password']}");
    $options = ['header' => "Authorization: Basic $pair", 'ignore_errors' => true];
    file_get_contents($url, false, stream_context_create(['http' => $options]));
    echo explode(' ', $http_response_header[0])[1], "\n";
}
