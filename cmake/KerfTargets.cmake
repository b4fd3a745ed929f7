# One target per folder of src/, all with the same language and warnings.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(kerf_flags INTERFACE)
target_compile_definitions(kerf_flags INTERFACE _GNU_SOURCE)
target_include_directories(kerf_flags INTERFACE
  ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
target_compile_options(kerf_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
  -Wmissing-prototypes -Wvla -Wformat=2 -Wcast-qual -Wundef
  -Wno-format-truncation # lines for people are cut on purpose (kerf_detail)
  # What C17 forbids and gcc 12 only warns of is an error in every build.
  -Werror=implicit-function-declaration -Werror=implicit-int
  -Werror=incompatible-pointer-types -Werror=int-conversion
  $<$<BOOL:${KERF_WERROR}>:-Werror>)

if(KERF_SANITIZE)
  target_compile_options(kerf_flags INTERFACE -fsanitize=${KERF_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(kerf_flags INTERFACE -fsanitize=${KERF_SANITIZE})
endif()
if(KERF_FUZZERS)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "KERF_FUZZERS needs clang: cmake --preset fuzz")
  endif()
  target_compile_options(kerf_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# kerf_folder(NAME SOURCES file... DEPS target...): src/NAME as kerf_NAME.
function(kerf_folder name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(kerf_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(kerf_${name} PUBLIC kerf_flags ${ARG_DEPS})
endfunction()
