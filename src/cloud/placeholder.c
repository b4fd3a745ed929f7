/* placeholder until the folder has its first source */
typedef int kerf_cloud_placeholder;
